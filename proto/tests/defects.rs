//! The defects of the original programs: what they lost, repeated or mixed up, and what we make of the same bytes.
//!
//! Where a recording exists, our session takes the place of the original that failed and reads the same bytes. Where the wire
//! itself cannot tell (SPEC.md, 12.3), the test pins down what happens, and names the hole. What concerns a server's listener (a
//! returning device refused, strangers that hold up others, lost file descriptors) is no matter of a session.
mod replay;

use holdline_proto::classic::Flavour::{V2019, V2020};
use holdline_proto::{Client, DownReason, Event, PeerFault, Receipt, Server};
use replay::lone::Lone;
use replay::original::Original;
use replay::recording::{Recording, Side};
use replay::{Plays, Story, replay};
use std::collections::BTreeMap;

fn defect<R: Plays>(name: &str) -> (Recording, Story) {
    let recording = Recording::load(&format!("defects/{name}"));
    let story = replay::<R>(&recording, |config| config);
    (recording, story)
}

/// How often each text was given.
fn times(story: &Story) -> BTreeMap<&str, usize> {
    let mut times = BTreeMap::new();
    for text in &story.got {
        *times.entry(text.as_str()).or_default() += 1;
    }
    times
}

/// Our application has everything that came through, each once, in the order in which it first came.
fn each_once<R: Plays>(name: &str) -> Story {
    let (recording, story) = defect::<R>(name);
    assert_eq!(story.got, recording.order_on_the_wire(R::SIDE.other()), "{name}");
    story
}

/// Both say all they have, until neither has more.
fn talk(client: &mut Lone<Client>, server: &mut Lone<Server>) {
    loop {
        let (up, down) = (client.says(), server.says());
        if up.is_empty() && down.is_empty() {
            break;
        }
        server.hears(up.strip_prefix("a\n").unwrap_or(&up));
        client.hears(&down);
    }
}

/// A client and a server whose link is up and settled.
fn pair(in_order: bool) -> (Lone<Client>, Lone<Server>) {
    let client = Lone::<Client>::up(V2020, |c| c.in_order(in_order));
    let server = Lone::<Server>::up(V2020, |c| c.in_order(in_order));
    (client, server)
}

/// Both live for `ms`, and talk every tenth of a second.
fn live(client: &mut Lone<Client>, server: &mut Lone<Server>, ms: u64) {
    for _ in 0..ms / 100 {
        client.waits(100);
        server.waits(100);
        talk(client, server);
    }
}

// 1. HL-0036: the original delivers a repeated message 0 twice, and forgets all other ids.
#[test]
fn message_0_repeated_on_one_link_is_given_once_and_forgets_nothing() {
    each_once::<Client>("d01_mid0_retransmission_delivered_twice");
    each_once::<Server>("d01_mid0_retransmission_delivered_twice");
    each_once::<Server>("d02_mid0_dup_forgets_all");
    each_once::<Server>("d03_2019_first_message_dup");
}

// 1. Hole 1: across links a repeated 0 is a power cycle for anybody. HL-0035; the guarantee table names it.
#[test]
fn message_0_repeated_on_the_next_link_is_given_twice() {
    let mut lone = Lone::<Server>::up(V2020, |c| c);
    lone.hears("00on\n");
    lone.session.handle_disconnected(lone.instant());
    lone.connects();
    lone.hears("00on\n");
    assert_eq!(lone.got, ["on", "on"]);
}

// 2. HL-0037: with 200 on their way an original took repeats for new; we never have more than 100.
#[test]
fn our_repeats_are_never_taken_for_new_by_an_original() {
    let mut lone = Lone::<Client>::up(V2020, |c| c.in_order(false));
    let mut original = Original::new(V2020, Side::Client, 2_000);
    let texts: Vec<String> = (0..400).map(|index| format!("m{index}")).collect();
    for text in &texts {
        lone.sends(text);
    }
    // Every ack of the first writing is lost, every one of the repeat arrives.
    let mut seen = BTreeMap::new();
    while lone.session.acked() < 400 {
        for line in lone.tells() {
            let (digits, text) = line.split_at(2);
            let id = u8::from_str_radix(digits, 16).expect("an id");
            // An original delivers any 0 again (hole 1); this is about the others.
            if id != 0 {
                original.receives(id, text);
            }
            let writings = seen.entry(text.to_owned()).or_insert(0);
            *writings += 1;
            if *writings > 1 {
                lone.hears(&format!("{digits}\n"));
            }
        }
        lone.waits_while_the_peer_lives(500);
    }
    assert_eq!(original.delivered, texts[1..]);
}

// 2. Hole 3: an original with 200 or 300 on their way. HL-0034; the guarantee table names it.
#[test]
fn more_than_128_on_their_way_from_an_original_may_be_repeated() {
    let (_, story) = defect::<Server>("d04_more_than_128_outstanding_dup");
    assert_eq!((times(&story).len(), story.got.len()), (200, 399), "all but message 0 are taken for new when they are repeated");
    // Where the original lost one of 300, and several, we have them all.
    each_once::<Server>("d05_more_than_255_outstanding_loss");
    let (_, story) = defect::<Server>("d06_300_outstanding_in_outage_loss");
    assert_eq!((times(&story).len(), story.got.len()), (300, 300));
}

// 3. HL-0044: an original client acks what its full queue cannot take, drops the link, and the message is lost.
#[test]
fn a_full_queue_loses_nothing() {
    let (mut client, mut server) = pair(false);
    client.holds = true;
    let texts: Vec<String> = (0..60).map(|index| format!("m{index}")).collect();
    for text in &texts {
        server.sends(text);
    }
    let mut given: Vec<String> = Vec::new();
    let mut queue: Vec<Receipt> = Vec::new();
    for _ in 0..200 {
        live(&mut client, &mut server, 100);
        for (text, receipt) in client.got.drain(..).zip(client.held.drain(..)) {
            if queue.len() < 20 {
                queue.push(receipt);
                given.push(text);
            } else {
                assert!(client.session.decline(receipt));
            }
        }
        // The application takes one in a tenth of a second.
        if !queue.is_empty() {
            assert!(client.session.accept(queue.remove(0)));
        }
    }
    assert_eq!((client.downs(), server.downs()), (vec![], vec![]), "and the link stays");
    given.sort_by_key(|text| text[1..].parse::<u32>().expect("a number"));
    assert_eq!((given, server.session.acked()), (texts, 60));
}

// 3. Hole 4 seen from the other side: what an original server repeats after its client has dropped the link.
#[test]
fn a_burst_that_is_repeated_after_an_overflow() {
    each_once::<Client>("d08_queue_full_with_attentive_reader");
    // Here 0 comes again on the new link (hole 1), after others, and what follows it is new again: 18 twice, none lost.
    let (_, story) = defect::<Client>("d07_queue_full_acked_but_lost");
    assert_eq!((times(&story).len(), story.got.len()), (30, 48));
}

// 4. HL-0042: the original acks what is only in its buffer, and loses it when it stops.
#[test]
fn what_the_application_has_not_accepted_is_not_acked_and_survives_a_restart() {
    let (recording, story) = defect::<Server>("d09_acked_in_server_buffer_lost_on_restart");
    assert_eq!(story.got, recording.order_on_the_wire(Side::Client));
    let (mut client, mut server) = pair(true);
    server.holds = true;
    client.sends("on");
    live(&mut client, &mut server, 1_000);
    assert_eq!((server.got.as_slice(), client.session.acked()), (&["on".to_owned()][..], 0));
    // The server is killed and started again.
    client.session.handle_disconnected(client.instant());
    let mut server = Lone::<Server>::new(V2020, |c| c);
    client.connects();
    server.connects();
    live(&mut client, &mut server, 1_000);
    assert_eq!((server.got.as_slice(), client.session.acked()), (&["on".to_owned()][..], 1));
}

// 5. HL-0034: eight losses in a row left stale bits, which swallowed later messages.
#[test]
fn losses_in_a_row_swallow_nothing_later() {
    each_once::<Server>("d22_ring_not_cleared_after_8_losses");
}

// 5. Hole 2: a restarted peer whose 0 comes late. HL-0034, HL-0035; the guarantee table names it.
#[test]
fn what_a_restarted_peer_sends_before_its_late_0_is_swallowed() {
    let (recording, story) = defect::<Server>("d10_client_reboot_lost_when_mid0_late");
    let begins = |texts: &[String]| texts.iter().map(|text| text[..7].to_owned()).collect::<Vec<_>>();
    let before = ["C000000", "C000001", "C000002", "C000003", "C000004", "C000005"];
    assert_eq!(begins(&story.got), [&before[..], &["D000000"]].concat());
    assert_eq!(recording.order_on_the_wire(Side::Client).len(), 10, "three of the new life were lost");
    let (_, story) = defect::<Client>("d11_server_restart_lost_when_mid0_late");
    assert_eq!((story.got.len(), begins(&story.got[6..])), (7, vec!["T000000".to_owned()]));
}

// 5. HL-0038: a sender in order, and ours is by default, never brings a peer there.
#[test]
fn a_restart_in_order_loses_nothing() {
    let (client, mut server) = pair(true);
    drop(client);
    for life in 0..3 {
        let mut client = Lone::<Client>::new(V2020, |c| c);
        client.connects();
        server.connects();
        for index in 0..4 {
            client.sends(&format!("{life}.{index}"));
        }
        live(&mut client, &mut server, 1_000);
    }
    let sent = (0..3).flat_map(|life| (0..4).map(move |index| format!("{life}.{index}")));
    assert_eq!(server.got, sent.collect::<Vec<_>>());
}

// 6. HL-0007, HL-0041: an empty text is never sent by us (see `recordings.rs`); what an original sends is an ack, whatever it meant.
#[test]
fn an_empty_text_of_an_original_is_an_ack_and_disturbs_nothing_else() {
    each_once::<Server>("d12_empty_payload_never_acked");
    let story = each_once::<Server>("d13_empty_payload_forges_ack");
    assert_eq!(story.downs().len(), 1, "only at the end");
    // Hole 10: it acknowledges the message of that id, which may never have arrived. The guarantee table names it.
    let mut lone = Lone::<Server>::up(V2020, |c| c);
    lone.sends("lost on the way");
    lone.says();
    lone.hears("00\n");
    assert_eq!(lone.events, [Event::Acked(1)]);
}

// 7. HL-0013: one list for all clients of a 2019 server swallowed five of six messages.
#[test]
fn each_client_has_a_list_of_its_own() {
    let mut servers = [Lone::<Server>::up(V2019, |c| c), Lone::<Server>::up(V2019, |c| c)];
    for index in 0..6 {
        for server in &mut servers {
            server.hears(&format!("{index:02x}m{index}\n"));
        }
    }
    assert!(servers.iter().all(|server| server.got.len() == 6));
}

// 7. A 2019 client kept one message, and lost the rest of a burst.
#[test]
fn a_burst_is_given_whole() {
    each_once::<Client>("d19_2019_client_single_slot");
}

// 7. HL-0054. Hole 6: without acks a line lost on a living link is never noticed. The guarantee table names it.
#[test]
fn in_2019_a_line_lost_on_a_living_link_is_lost() {
    each_once::<Server>("d20_2019_single_loss_never_noticed");
    let mut lone = Lone::<Client>::up(V2019, |c| c);
    lone.sends("c-lost");
    assert_eq!(lone.tells(), ["00c-lost"]);
    lone.waits_while_the_peer_lives(10_000);
    assert_eq!((lone.tells(), lone.session.acked()), (vec![], 1));
}

// 7. HL-0040, HL-0054: a repeat that is lost in a second outage, which the original never repeats again.
#[test]
fn in_2019_a_message_is_repeated_over_as_many_outages_as_it_takes() {
    each_once::<Client>("d21_2019_repeat_lost_in_second_outage");
    each_once::<Server>("d21_2019_repeat_lost_in_second_outage");
    let mut lone = Lone::<Client>::up(V2019, |c| c);
    lone.sends("c-1");
    assert_eq!(lone.tells(), ["00c-1"]);
    for outage in 1..=3 {
        lone.waits(5_000);
        assert_eq!(lone.downs().len(), outage);
        lone.connects();
        lone.hears("\n");
        lone.waits(500);
        assert_eq!(lone.tells(), ["a", "00c-1"]);
    }
    lone.waits_while_the_peer_lives(1_600);
    assert_eq!(lone.session.acked(), 1);
}

// 8. HL-0038: wait=False after a loss, outages in 2019, and even concurrent wait=True writes came out of order.
#[test]
fn our_messages_are_in_order_whatever_is_lost() {
    let (mut client, mut server) = pair(true);
    let texts: Vec<String> = (0..10).map(|index| format!("S{index}")).collect();
    for text in &texts {
        server.sends(text);
    }
    // Every third line on its way is lost, in both directions.
    let mut count = 0;
    for _ in 0..400 {
        server.waits(100);
        client.waits(100);
        for line in server.says().split_inclusive('\n') {
            count += 1;
            if count % 3 != 0 {
                client.hears(line);
            }
        }
        for line in client.says().split_inclusive('\n') {
            count += 1;
            if count % 3 != 0 {
                server.hears(line);
            }
        }
    }
    assert_eq!((client.got, server.session.acked()), (texts, 10));
}

// 8. Out of order from an original: each is given once, in the order of the wire. HL-0039; the guarantee table names it.
#[test]
fn what_an_original_sends_out_of_order_is_given_out_of_order() {
    each_once::<Client>("d32_wait_true_concurrent_order");
    each_once::<Server>("d34_wait_false_reorder_on_loss");
    each_once::<Client>("d35_2019_reorder_after_outage");
    each_once::<Server>("d35_2019_reorder_after_outage");
}

// 9. HL-0027: a message in the segment of the id line was lost (2020), or given again on every reconnect (2019).
#[test]
fn a_message_that_comes_with_the_id_line_is_given_once() {
    let (_, story) = defect::<Server>("d30_coalesced_hello_message_dropped_on_reconnect");
    assert_eq!(story.got, ["coal0", "coal1", "coal2"]);
    let (_, story) = defect::<Server>("d31_2019_coalesced_hello_message_replayed");
    assert_eq!(story.got, ["coal0", "coal1", "coal2"]);
}

// 10. HL-0003: half a line was glued to the first line of the next link.
#[test]
fn half_a_line_ends_with_its_link() {
    let (_, story) = defect::<Server>("d16_partial_line_survives_reconnect");
    assert_eq!(story.got, ["hi", "partial-complete", "next"]);
}

// 10. HL-0004, HL-0040: the tail of a line was sent as the first bytes of a new link.
#[test]
fn a_new_link_begins_with_whole_lines() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    lone.sends("a message that the transport takes only half of");
    let mut buffer = [0; 128];
    assert_eq!(lone.session.poll_transmit(&mut buffer), 50);
    lone.session.handle_transmitted(lone.instant(), 20);
    lone.session.handle_disconnected(lone.instant());
    lone.connects();
    lone.hears("\n");
    assert_eq!(lone.tells(), ["a", "00a message that the transport takes only half of"]);
}

// 11. HL-0001, HL-0002: an LF at the beginning of a segment was stripped, and two messages became one.
#[test]
fn an_lf_in_the_next_segment_ends_the_line() {
    let (_, story) = defect::<Server>("d14_newline_in_next_segment");
    assert_eq!(story.got, ["c0", "hello", "world"]);
    let (_, story) = defect::<Server>("d15_payload_4094_poisons_link");
    assert_eq!(story.got, ["before".to_owned(), "y".repeat(4_094)]);
    assert!(story.said.iter().any(|(_, line)| line == "01"), "it is acknowledged, and need not be repeated for ever");
}

// 12. HL-0121: the session takes the new link at once; that the listener lets it come so far is the server's part.
#[test]
fn a_device_that_comes_back_is_taken_up_while_its_old_link_is_open() {
    for (name, taken_up) in
        [("d24_halfopen_duplicate_rejected", [1_805, 5_127]), ("d25_2019_halfopen_duplicate_rejected", [1_385, 4_408])]
    {
        let (_, story) = defect::<Server>(name);
        assert_eq!(story.downs()[0], (taken_up[1], DownReason::Takeover));
        let ups = story.events.iter().filter(|(_, event)| matches!(event, Event::Up { .. })).map(|(at, _)| *at);
        assert_eq!(ups.collect::<Vec<_>>()[..2], taken_up, "up as soon as its id line is read");
    }
}

// 13. HL-0154: a line that trickles for ever never timed out.
#[test]
fn a_line_that_trickles_for_ever_times_out() {
    let mut lone = Lone::<Client>::up(V2020, |c| c.max_line(4_096));
    lone.hears("01");
    for _ in 0..100 {
        lone.waits(100);
        lone.hears(if lone.session.has_link() { "x" } else { "" });
    }
    assert_eq!(lone.downs(), [DownReason::Fault(PeerFault::Slow)]);
}

// 13. HL-0106: a peer that goes on saying that it lives, and reads nothing.
#[test]
fn a_peer_that_reads_nothing_is_noticed() {
    let mut lone = Lone::<Server>::up(V2020, |c| c);
    let mut buffer = [0; 64];
    for _ in 0..100 {
        lone.now += 100;
        lone.hears("\n");
        lone.session.handle_timeout(lone.instant());
        // It is written, and nothing reports that the transport has taken it.
        lone.session.poll_transmit(&mut buffer);
        lone.listens();
    }
    assert_eq!(lone.downs(), [DownReason::Stall]);
}

// 14. HL-0108: after a write that was stuck when the link dropped, the next link had fewer keepalives.
#[test]
fn a_stuck_write_costs_the_next_link_nothing() {
    let mut lone = Lone::<Client>::up(V2020, |c| c);
    lone.sends("stuck");
    let mut buffer = [0; 64];
    assert!(lone.session.poll_transmit(&mut buffer) > 0);
    lone.session.handle_disconnected(lone.instant());
    lone.connects();
    lone.hears("\n");
    lone.hears("00\n");
    lone.says();
    lone.waits_while_the_peer_lives(10_000);
    assert_eq!(lone.says(), "\n".repeat(20), "one in each half second");
}

// 15. HL-0047: a lost best-effort message held up the reliable ones behind it.
#[test]
fn a_lost_best_effort_message_holds_up_nothing() {
    each_once::<Client>("d17_qos_false_lost_blocks_server_writes");
    let mut lone = Lone::<Server>::up(V2020, |c| c);
    assert!(lone.session.send_best_effort("lost", &mut [0; 64]).is_ok());
    lone.sends("reliable");
    assert_eq!(lone.tells(), ["01reliable"]);
}

// 16. HL-0031: a line of 10 MB.
#[test]
fn a_line_without_end_is_a_fault_as_soon_as_it_is_too_long() {
    let mut lone = Lone::<Server>::up(V2020, |c| c);
    lone.hears_bytes(&[b'0'; 4_096]);
    assert_eq!(lone.downs(), []);
    lone.hears_bytes(b"0");
    assert_eq!(lone.downs(), [DownReason::Fault(PeerFault::Long)]);
}

// 18. HL-0031: the reader died, the keepalives went on, and the device could never come back.
#[test]
fn bytes_that_are_no_line_end_the_link_and_the_device_comes_back() {
    for bytes in [&b"zz\n"[..], b"GET / HTTP/1.1\r\n", b"01\xc3\n", b"-1x\n"] {
        let mut lone = Lone::<Server>::up(V2020, |c| c);
        lone.hears_bytes(bytes);
        assert!(matches!(lone.downs()[..], [DownReason::Fault(PeerFault::Frame | PeerFault::Utf8)]));
        assert_eq!(lone.session.poll_timeout(), None, "no keepalive goes on");
        lone.connects();
        lone.hears("00back\n");
        assert_eq!(lone.got, ["back"]);
    }
}

// 20. HL-0144: a flood of messages, or of repeats, takes no memory: the session has no more than its bits.
#[test]
fn a_flood_changes_nothing_but_bits() {
    let mut lone = Lone::<Server>::up(V2020, |c| c);
    for index in 0..100_000_u32 {
        lone.hears(&format!("{:02x}flood\n", index % 255 + 1));
        lone.hears(&format!("{:02x}flood\n", index % 255 + 1));
    }
    assert_eq!(lone.got.len(), 100_000);
    let acks = lone.tells();
    assert!(acks.len() <= 256, "{} acks for one flush", acks.len());
}
