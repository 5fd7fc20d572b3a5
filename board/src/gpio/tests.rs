use super::*;
use crate::config::{InputLine, OutputLine};
use crate::io::{InputRole, Inputs, OutputRole, Outputs};
use std::path::PathBuf;
use std::time::Duration;

fn wire(chip: &str) -> Wire {
    let chip = PathBuf::from(chip);
    Wire { chip, line: 3, active_low: false, bias: None, pin: None, pinmux: None }
}

fn trigger(chip: &str) -> InputLine {
    let debounce = Duration::from_micros(100);
    InputLine { role: InputRole::Trigger, wire: wire(chip), debounce }
}

#[test]
fn a_missing_chip_is_named() {
    let line = trigger("/dev/gpiochip4711");
    let error = GpioTrigger::open(&line).unwrap_err().to_string();
    assert!(error.starts_with("/dev/gpiochip4711: no such GPIO chip; here: "), "{error}");
    let error = GpioInputs::open(&[line]).unwrap_err().to_string();
    assert!(error.starts_with("/dev/gpiochip4711: no such GPIO chip; here: "), "{error}");
    let line = OutputLine {
        role: OutputRole::Reject,
        wire: wire("label:nobody's"),
        drive: Drive::OpenDrain,
        fail_safe: true,
    };
    let error = GpioOutputs::open(&[line]).unwrap_err().to_string();
    assert!(error.starts_with("label:nobody's: no such GPIO chip"), "{error}");
}

#[test]
fn what_is_no_chip_is_refused() {
    let error = GpioTrigger::open(&trigger("/dev/null")).unwrap_err().to_string();
    assert!(error.starts_with("/dev/null line 3: "), "{error}");
}

#[test]
fn a_role_without_a_wire_is_accepted_until_the_outputs_rest() {
    let mut outputs = GpioOutputs::open(&[]).unwrap();
    assert!(outputs.set(OutputRole::Pass, true).is_ok());
    let handle = outputs.fail_safe_handle();
    assert!(!handle.applied());
    drop(outputs);
    assert!(handle.applied());
}

#[test]
fn a_panic_anywhere_puts_the_outputs_to_rest() {
    let outputs = GpioOutputs::open(&[]).unwrap();
    let handle = outputs.fail_safe_handle();
    handle.on_panic();
    let thread = std::thread::spawn(|| panic!("on purpose, for the test"));
    assert!(thread.join().is_err());
    assert!(handle.applied());
    drop(outputs);
}

#[test]
fn no_inputs_are_nothing_to_wait_for() {
    let mut inputs = GpioInputs::open(&[]).unwrap();
    assert!(inputs.wait(Duration::ZERO).unwrap().is_none());
    assert_eq!(inputs.level(InputRole::Interlock).unwrap(), None);
}
