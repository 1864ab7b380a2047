//! Instructions of one exchange, counted by callgrind.
use gungraun::{library_benchmark, library_benchmark_group, main};
use holdline_bench::{Floor, Holdline, MqttProtocolCore, Pair, Rumqttc, TEXT, warmed_up};
use std::hint::black_box;

#[library_benchmark]
#[bench::one(warmed_up::<Holdline>())]
fn holdline(mut pair: Box<Holdline>) -> Box<Holdline> {
    black_box(pair.exchange(black_box(TEXT)));
    pair
}

#[library_benchmark]
#[bench::one(warmed_up::<Floor>())]
fn floor(mut pair: Box<Floor>) -> Box<Floor> {
    black_box(pair.exchange(black_box(TEXT)));
    pair
}

#[library_benchmark]
#[bench::one(warmed_up::<Rumqttc>())]
fn rumqttc(mut pair: Box<Rumqttc>) -> Box<Rumqttc> {
    black_box(pair.exchange(black_box(TEXT)));
    pair
}

#[library_benchmark]
#[bench::one(warmed_up::<MqttProtocolCore>())]
fn mqtt_protocol_core(mut pair: Box<MqttProtocolCore>) -> Box<MqttProtocolCore> {
    black_box(pair.exchange(black_box(TEXT)));
    pair
}

library_benchmark_group!(name = exchange; benchmarks = holdline, floor, rumqttc, mqtt_protocol_core);
main!(library_benchmark_groups = exchange);
