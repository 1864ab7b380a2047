//! The wire as a UART.

use crate::pin;
use esp_hal::Async;
use esp_hal::peripherals::UART1;
use esp_hal::uart::{Config, CtsConfig, HwFlowControl, RtsConfig, RxConfig, RxErrorKind, Uart, UartRx, UartTx};

/// What the log calls it.
pub const NAME: &str = concat!("UART, ", env!("HOLDLINE_WIRE_BAUD"), " baud");

/// How many bytes wait in the chip before it interrupts. Of its 128, the rest is what arrives until the relay gets its turn: 8 ms at
/// 115,200 baud.
const INTERRUPT_AT: u16 = 32;
/// How many bytes wait in the chip before the host is told to stop, where RTS is connected.
const STOP_AT: u8 = 100;

const CTS: &str = env!("HOLDLINE_WIRE_CTS");
const RTS: &str = env!("HOLDLINE_WIRE_RTS");

/// From the host.
pub type Reader = UartRx<'static, Async>;
/// To the host.
pub type Writer = UartTx<'static, Async>;

/// Opens the wire, on the pins and at the speed that were named to the build.
pub fn open(uart: UART1<'static>) -> (Reader, Writer) {
    // Bytes that were damaged or lost are for those to notice who hear them: an error would cost those that have arrived. There is no
    // parity, so this is no error at all.
    let receive = RxConfig::default().with_fifo_full_threshold(INTERRUPT_AT).with_reported_errors(RxErrorKind::ParityMismatch);
    let flow = HwFlowControl {
        cts: if CTS.is_empty() { CtsConfig::Disabled } else { CtsConfig::Enabled },
        rts: if RTS.is_empty() { RtsConfig::Disabled } else { RtsConfig::Enabled(STOP_AT) },
    };
    let config = Config::default()
        .with_baudrate(env!("HOLDLINE_WIRE_BAUD").parse().expect("the build has checked it"))
        .with_rx(receive)
        .with_hw_flow_ctrl(flow);
    let mut wire = Uart::new(uart, config)
        .expect("the chip does every speed that the build takes")
        .with_rx(pin(env!("HOLDLINE_WIRE_RX")))
        .with_tx(pin(env!("HOLDLINE_WIRE_TX")));
    if !CTS.is_empty() {
        wire = wire.with_cts(pin(CTS));
    }
    if !RTS.is_empty() {
        wire = wire.with_rts(pin(RTS));
    }
    wire.into_async().split()
}
