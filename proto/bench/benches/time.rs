//! Time of one exchange.
use divan::{Bencher, black_box};
use holdline_bench::{Floor, Holdline, MqttProtocolCore, Pair, Rumqttc, TEXT, warmed_up};

fn main() {
    divan::main();
}

#[divan::bench(types = [Holdline, Floor, Rumqttc, MqttProtocolCore])]
fn exchange<P: Pair>(bencher: Bencher) {
    let mut pair = warmed_up::<P>();
    bencher.bench_local(|| pair.exchange(black_box(TEXT)));
}
