//! Serial ports and network, byte for byte in both directions.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{Extras, Scenario};
use crate::bench::Bench;
use crate::fail::{Fail, Outcome, must};

pub const SCENARIO: Scenario = Scenario {
    name: "serial",
    about: "serial commands, Modbus RTU on the second port, Modbus TCP over the network",
    extras: Extras { stick: false, network: true, restarts: false },
    on_aarch64: true,
    run,
};

const ECHO_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

fn run(bench: &mut Bench) -> Outcome<()> {
    for port in ["/dev/ttyPLC", "/dev/ttyModbus"] {
        bench.sh(&format!("stty -F {port} 115200 raw -echo"))?;
    }
    // From the guest to the PLC, and an answer to what the PLC says.
    bench
        .sh("(read -r line < /dev/ttyPLC; echo \"heard $line\" > /dev/ttyPLC) >/dev/null 2>&1 &")?;
    bench
        .sh("(read -r l < /dev/ttyModbus; echo \"heard $l\" > /dev/ttyModbus) >/dev/null 2>&1 &")?;
    bench.did("says hello on both ports");
    bench.plc.send(b"hello plc\n")?;
    bench.modbus.send(b"hello modbus\n")?;
    bench.plc.wait(0, "echo", ECHO_LIMIT, |line| line == "heard hello plc")?;
    bench.modbus.wait(0, "echo", ECHO_LIMIT, |line| line == "heard hello modbus")?;
    over_the_network(bench)?;
    bench.device_side_only(
        "both ports and the network carry bytes both ways; commands and Modbus are the firmware's \
         and not there yet",
    );
    Ok(())
}

fn over_the_network(bench: &mut Bench) -> Outcome<()> {
    let port =
        bench.modbus_port.ok_or_else(|| Fail::Broken("this machine has no network".to_owned()))?;
    bench.sh("(echo \"hello host\" | nc -l -p 502) >/run/nc.out 2>&1 &")?;
    let deadline = Instant::now() + ECHO_LIMIT;
    // QEMU accepts at once and hangs up where nobody listens in the guest yet.
    let mut said = String::new();
    while said.is_empty() {
        must(Instant::now() < deadline, || "nothing comes over the network".to_owned())?;
        thread::sleep(LOOK);
        said = exchange(port).unwrap_or_default();
    }
    bench.did(format!("hears over the network: {}", said.trim()));
    must(said == "hello host\n", || format!("over the network came '{said}'"))?;
    let heard = bench.sh("sleep 1; cat /run/nc.out")?;
    must(heard == "hello guest\n", || format!("the guest heard '{heard}'"))
}

fn exchange(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ECHO_LIMIT))?;
    stream.write_all(b"hello guest\n")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}
