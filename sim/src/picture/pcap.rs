//! A run as a capture file: what a Wireshark beside the devices would have seen.

use super::Recording;
use crate::stream::Direction;
use crate::trace::{Happened, Traced};
use crate::world::{NodeId, StreamId};
use holdline_proto::ConnectFailure;
use std::collections::BTreeMap;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
/// The most bytes in a segment.
const SEGMENT: usize = 1_460;
/// The server's port; a device's is its stream's.
const PORT: u16 = 10_101;
/// LINKTYPE_RAW: a packet begins with its IP header.
const RAW: u32 = 101;

/// A stream as its packets tell it; by side, 0 is who opened it.
#[derive(Debug)]
struct Flow {
    ends: [NodeId; 2],
    ports: [u16; 2],
    sent: [u32; 2],
    arrived: [u32; 2],
    ended: [bool; 2],
}

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    packets: u16,
}

pub(super) fn file(run: &Recording) -> Vec<u8> {
    let mut file = File::default();
    for word in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, RAW] {
        file.bytes.extend_from_slice(&u32::to_le_bytes(word));
    }
    let mut flows: BTreeMap<StreamId, Flow> = BTreeMap::new();
    for Traced { at, what } in &run.events {
        let at = at.as_millis();
        match what {
            Happened::Asked { stream, from, to } => {
                let flow = flows.entry(*stream).or_insert_with(|| Flow::new(*stream, *from, *to));
                file.packet(at, flow, 0, SYN, &[]);
            }
            Happened::Opened { stream, from, to } => {
                let flow = flows.entry(*stream).or_insert_with(|| {
                    let flow = Flow::new(*stream, *from, *to);
                    file.packet(at, &flow, 0, SYN, &[]);
                    flow
                });
                file.packet(at, flow, 1, SYN | ACK, &[]);
                (flow.sent, flow.arrived) = ([1, 1], [1, 1]);
                file.packet(at, flow, 0, ACK, &[]);
            }
            Happened::Failed { stream, failure: ConnectFailure::Refused, .. } => {
                if let Some(flow) = flows.get_mut(stream) {
                    flow.arrived[0] = 1;
                    file.packet(at, flow, 1, RST | ACK, &[]);
                }
            }
            Happened::Written { stream, direction: Direction(side), bytes } => {
                let Some(flow) = flows.get_mut(stream) else { continue };
                for segment in bytes.chunks(SEGMENT) {
                    file.packet(at, flow, usize::from(*side), PSH | ACK, segment);
                    flow.sent[usize::from(*side)] += segment.len() as u32;
                }
            }
            Happened::Noise { stream, direction: Direction(side), dropped, .. } => {
                if let Some(flow) = flows.get_mut(stream) {
                    flow.arrived[usize::from(*side)] += dropped.len() as u32;
                }
            }
            Happened::Arrived { stream, direction: Direction(side), bytes } => {
                let Some(flow) = flows.get_mut(stream) else { continue };
                flow.arrived[usize::from(*side)] += bytes.len() as u32;
                file.packet(at, flow, 1 - usize::from(*side), ACK, &[]);
            }
            Happened::Closed { stream, node } => {
                if let Some(flow) = flows.get_mut(stream) {
                    file.end(at, flow, usize::from(flow.ends[0] == *node));
                }
            }
            _ => {}
        }
    }
    file.bytes
}

impl Flow {
    fn new(stream: StreamId, from: NodeId, to: NodeId) -> Self {
        let port = 20_000 + (stream.0 % 45_000) as u16;
        Self { ends: [from, to], ports: [port, PORT], sent: [0; 2], arrived: [0; 2], ended: [false; 2] }
    }
}

impl File {
    /// A node saw the end that `side` had made: in order, or with a reset if not everything had arrived.
    fn end(&mut self, at: u64, flow: &mut Flow, side: usize) {
        if std::mem::replace(&mut flow.ended[side], true) {
            return;
        }
        if flow.sent[side] == flow.arrived[side] {
            self.packet(at, flow, side, FIN | ACK, &[]);
            flow.sent[side] += 1;
            flow.arrived[side] += 1;
            self.packet(at, flow, 1 - side, ACK, &[]);
        } else {
            flow.sent[side] = flow.arrived[side];
            self.packet(at, flow, side, RST | ACK, &[]);
        }
    }

    fn packet(&mut self, at: u64, flow: &Flow, side: usize, flags: u8, payload: &[u8]) {
        let length = (40 + payload.len()) as u32;
        for word in [(at / 1_000) as u32, (at % 1_000 * 1_000) as u32, length, length] {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
        let (source, target) = (address(flow.ends[side]), address(flow.ends[1 - side]));
        let mut ip = [0; 20];
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        self.packets = self.packets.wrapping_add(1);
        ip[4..6].copy_from_slice(&self.packets.to_be_bytes());
        ip[6] = 0x40;
        (ip[8], ip[9]) = (64, 6);
        ip[12..16].copy_from_slice(&source);
        ip[16..].copy_from_slice(&target);
        let sum = checksum(&[&ip]);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());

        let mut tcp = [0; 20];
        tcp[..2].copy_from_slice(&flow.ports[side].to_be_bytes());
        tcp[2..4].copy_from_slice(&flow.ports[1 - side].to_be_bytes());
        tcp[4..8].copy_from_slice(&flow.sent[side].to_be_bytes());
        if flags & ACK != 0 {
            // A SYN that is answered counts as one byte.
            let seen = flow.arrived[1 - side].max(u32::from(flags & SYN != 0));
            tcp[8..12].copy_from_slice(&seen.to_be_bytes());
        }
        (tcp[12], tcp[13]) = (5 << 4, flags);
        tcp[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        let [high, low] = ((20 + payload.len()) as u16).to_be_bytes();
        let sum = checksum(&[&source, &target, &[0, 6, high, low], &tcp, payload]);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        for part in [&ip[..], &tcp, payload] {
            self.bytes.extend_from_slice(part);
        }
    }
}

/// 10.0.0.1 for node 0, and so on.
fn address(node: NodeId) -> [u8; 4] {
    (0x0a00_0001 + node.0).to_be_bytes()
}

/// The Internet checksum; every part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
