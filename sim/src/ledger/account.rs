//! What became of many messages, in numbers.

/// What became of the messages of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Given to the session by the sending application.
    pub sent: u64,
    /// Given to the receiving application, repeats not counted.
    pub delivered: u64,
    /// Replaced by a newer value before any wire had seen them, as *latest* is meant to.
    pub replaced: u64,
    /// Never delivered.
    pub lost: u64,
    /// Delivered once more.
    pub repeated: u64,
    /// Delivered after a later one.
    pub reordered: u64,
    /// Given to the receiving application with another text than was ever sent; the message itself counts as lost, or comes besides.
    pub damaged: u64,
    /// Of the lost: what somebody's loss of memory cost, or what a session dropped and said so.
    pub lost_excused: u64,
    /// Of the repeated: what somebody's loss of memory cost.
    pub repeated_excused: u64,
}

impl std::ops::AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.replaced += other.replaced;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.damaged += other.damaged;
        self.lost_excused += other.lost_excused;
        self.repeated_excused += other.repeated_excused;
    }
}
