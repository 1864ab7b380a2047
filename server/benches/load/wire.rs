//! What a device says and hears, in as few instructions as possible: canned bytes, and the head of each answer.

/// The protocol of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Lines that come back.
    Echo,
    /// Holdline's native profile.
    Native,
    /// MQTT 3.1.1, messages of QoS 2.
    Mqtt,
}

/// How far a device has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Whether the server has admitted it.
    pub(crate) up: bool,
    /// Whether the server has refused it, or said goodbye.
    pub(crate) gone: bool,
    /// Messages given to the server.
    pub(crate) sent: u64,
    /// Messages for which the server has taken responsibility.
    pub(crate) done: u64,
}

/// The text of every message.
const TEXT: &[u8; 64] = b"temperature=21.5 humidity=40 door=closed battery=3.71 rssi=-61 .";

impl Wire {
    /// The first bytes of a connection.
    pub(crate) fn greeting(self, device: usize, timeout_ms: u64) -> Vec<u8> {
        match self {
            Self::Echo => b"\n".to_vec(),
            Self::Native => format!(
                "HOLD/1 client=dev-{device} boot={boot} epoch={boot} base=0 peer=0 seen=0 keeps=none timeout={timeout_ms} window=16 \
                 max=4096\n",
                boot = device + 1
            )
            .into_bytes(),
            Self::Mqtt => {
                let name = format!("dev-{device}");
                let mut packet = vec![0x10, 12 + name.len() as u8, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, name.len() as u8];
                packet.extend_from_slice(name.as_bytes());
                packet
            }
        }
    }

    /// What the client says that stands for the application, where that is a client like others: it receives every message.
    pub(crate) fn application(self) -> Option<Vec<u8>> {
        let subscribe = [0x82, 8, 0, 1, 0, 3, b'd', b'/', b'#', 2];
        (self == Self::Mqtt).then(|| [self.greeting(usize::MAX, 0), subscribe.to_vec()].concat())
    }

    pub(crate) fn keepalive(self) -> &'static [u8] {
        match self {
            Self::Echo | Self::Native => b"\n",
            Self::Mqtt => &[0xC0, 0],
        }
    }

    /// Appends the next message.
    pub(crate) fn message(self, progress: &mut Progress, output: &mut Vec<u8>) {
        progress.sent += 1;
        match self {
            Self::Echo => output.extend_from_slice(TEXT),
            Self::Native => {
                output.push(b'M');
                output.extend_from_slice(progress.sent.to_string().as_bytes());
                output.push(b' ');
                output.extend_from_slice(TEXT);
            }
            Self::Mqtt => {
                output.extend_from_slice(&[0x34, 2 + 3 + 2 + TEXT.len() as u8, 0, 3, b'd', b'/', b't']);
                output.extend_from_slice(&packet_id(progress.sent));
                output.extend_from_slice(TEXT);
                return;
            }
        }
        output.push(b'\n');
    }

    /// Takes all that is complete in `input`, appends what has to be said at once, and returns how much was taken.
    pub(crate) fn take(self, input: &[u8], progress: &mut Progress, output: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            let length = match self {
                Self::Mqtt => rest.get(1).map(|&length| 2 + usize::from(length)).filter(|&length| length <= rest.len()),
                Self::Echo | Self::Native => rest.iter().position(|&byte| byte == b'\n').map(|end| end + 1),
            };
            let Some(length) = length else { break };
            self.take_one(&rest[..length], progress, output);
            at += length;
        }
        at
    }

    fn take_one(self, unit: &[u8], progress: &mut Progress, output: &mut Vec<u8>) {
        match (self, unit) {
            (_, [b'\n']) => progress.up |= self == Self::Echo,
            (Self::Echo, _) => progress.done += 1,
            (Self::Native, [b'A', digits @ .., b'\n']) => {
                progress.done = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
            }
            (Self::Native, [b'H', b'O', b'L', b'D', b'/', b'1', b' ', b'o', b'k', ..]) => {
                progress.up = true;
                output.push(b'\n');
            }
            (Self::Native, _) => progress.gone = true,
            (Self::Mqtt, [0x20, 2, _, code]) => (progress.up, progress.gone) = (*code == 0, *code != 0),
            (Self::Mqtt, [0x50, 2, high, low]) => output.extend_from_slice(&[0x62, 2, *high, *low]),
            (Self::Mqtt, [0x70, 2, ..]) => progress.done += 1,
            // What only the application hears: a message, and its release.
            (Self::Mqtt, [0x34 | 0x3C, _, 0, 3, _, _, _, high, low, ..]) => output.extend_from_slice(&[0x50, 2, *high, *low]),
            (Self::Mqtt, [0x62, 2, high, low]) => output.extend_from_slice(&[0x70, 2, *high, *low]),
            (Self::Mqtt, [kind, ..]) => progress.gone = !matches!(kind, 0x90 | 0xD0),
            (Self::Mqtt, []) => {}
        }
    }
}

/// Packet ids are 16 bits, and 0 is none.
fn packet_id(number: u64) -> [u8; 2] {
    ((number % 65_535 + 1) as u16).to_be_bytes()
}
