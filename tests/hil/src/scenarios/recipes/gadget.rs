//! The camera as a USB device: a bundle pushed over `/dev/ttyACM0` to the line's `/dev/ttyGS0`, with the cable pulled
//! half-way. Host and device controller are both in the guest (`dummy_hcd`); what the far end says comes from here.

use std::time::Duration;

use super::{
    CHANGE_LIMIT, Named, ask, bundle, import, judge, look, next_sequence, set_up, sh, start,
};
use crate::bench::{Bench, SHELL_LIMIT};
use crate::fail::{Fail, Outcome, must};
use crate::scenarios::serial::{reply, send};
use crate::scenarios::{Extras, Scenario};

pub const SCENARIO: Scenario = Scenario {
    name: "recipes-gadget",
    about: "board/gadget/touchstone-gadget: a bundle pushed over USB, the cable pulled half-way",
    extras: Extras { disk: true, bare: true, ..Extras::NONE },
    on_aarch64: false,
    run,
};

/// Bytes of a piece (board/docs/serial.md has 144 as the most).
const PIECE: usize = 144;
/// Pieces that are sent before the first is answered.
const AHEAD: usize = 8;
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How often what was lost is sent again.
const TRIES: usize = 8;
const NODES_LIMIT: Duration = Duration::from_secs(60);

fn run(bench: &mut Bench) -> Outcome<()> {
    set_up(bench)?;
    let file = bundle(bench, "part", 1, "/run")?;
    let done = bench.touchstone(&import(&file))?;
    must(done.code == 0, || format!("import ended with {}: {}", done.code, done.text))?;
    for module in ["dummy_hcd", "libcomposite", "usb_f_acm", "cdc_acm"] {
        sh(bench, &format!("modprobe {module}"))?;
    }
    sh(bench, "sed -i 's#/dev/ttyPLC#/dev/ttyGS0#' /etc/touchstone/recipes-board.toml")?;
    sh(bench, "touchstone-gadget start")?;
    plug(bench)?;
    let status = sh(bench, "touchstone-gadget status")?;
    bench.note("gadget", status.trim());
    start(bench)?;
    judge(bench)?;

    let file = bundle(bench, "part", 2, "/run")?;
    let push = Push::of(bench, &file)?;
    let half = push.row.len() / 2;
    push.send(bench, half)?;
    // Who holds the far end open keeps its name: the next one would have another.
    sh(bench, "kill $(cat /run/tie.pids); true")?;
    bench.did("pulls the cable");
    sh(bench, "touchstone-gadget stop")?;
    sh(bench, "touchstone-gadget start")?;
    plug(bench)?;
    // The line opens its end again by itself.
    let mut status = ask(bench, "status", ANSWER_LIMIT);
    for _ in 0..TRIES {
        if status.is_err() {
            status = ask(bench, "status", ANSWER_LIMIT);
        }
    }
    must(status?.contains("ready=1"), || "not READY after the cable was pulled".to_owned())?;
    let from = push.begin(bench)?;
    must(from > 0, || "the push begins anew after the cable was pulled".to_owned())?;
    push.send(bench, push.row.len())?;
    let answer = push.end(bench)?;
    must(answer.contains(" ok part 2 is active"), || format!("push: {answer}"))?;
    judge(bench)?;
    let now = look(bench)?;
    let new: Named = ("part".to_owned(), 2);
    must(now.active.as_ref() == Some(&new), || format!("active: {:?}", now.active))?;
    bench.note(
        "pushed over USB",
        format!("{} bytes, went on at {from} after the cable was pulled", push.row.len()),
    );
    sh(bench, "touchstone-gadget stop")?;
    let left = bench.agent.sh("ls -d /sys/kernel/config/usb_gadget/touchstone", SHELL_LIMIT)?;
    must(left.code != 0, || "touchstone-gadget stop leaves its gadget".to_owned())
}

/// Waits for both ends of the cable, and ties the far one to the port that comes out of the machine.
fn plug(bench: &mut Bench) -> Outcome<()> {
    let wait = format!(
        "for i in $(seq {}); do [ -c /dev/ttyGS0 ] && [ -c /dev/ttyACM0 ] && exit 0; usleep 100000; done; exit 1",
        10 * NODES_LIMIT.as_secs()
    );
    bench.agent.ok(&wait, 2 * NODES_LIMIT)?;
    sh(
        bench,
        "stty -F /dev/ttyACM0 raw -echo && stty -F /dev/ttyPLC raw -echo && \
         { cat /dev/ttyACM0 > /dev/ttyPLC 2>/dev/null & echo $! > /run/tie.pids; \
         cat /dev/ttyPLC > /dev/ttyACM0 2>/dev/null & echo $! >> /run/tie.pids; }",
    )?;
    Ok(())
}

/// A bundle on its way.
struct Push {
    name: String,
    signature: usize,
    row: Vec<u8>,
    id: String,
}

impl Push {
    fn of(bench: &mut Bench, file: &str) -> Outcome<Push> {
        let mut bytes = |file: &str| {
            let text = sh(bench, &format!("hexdump -v -e '1/1 \"%02x\"' {file}"))?;
            let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
            let all: Option<Vec<u8>> = (0..text.len() / 2).map(|i| byte(2 * i)).collect();
            all.ok_or_else(|| Fail::Broken(format!("hexdump of {file}")))
        };
        let signature = bytes(&format!("{file}.minisig"))?;
        let row = [signature.clone(), bytes(file)?].concat();
        let sum = sh(bench, &format!("cat {file}.minisig {file} | sha256sum"))?;
        let id = sum.get(..16).unwrap_or_default().to_owned();
        let name = file.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Push { name, signature: signature.len(), row, id })
    }

    /// Begins it, or goes on with it; the byte that is wanted next.
    fn begin(&self, bench: &mut Bench) -> Outcome<usize> {
        let bundle = self.row.len() - self.signature;
        let verb = format!("push begin {} {} {bundle} {}", self.name, self.signature, self.id);
        let mut answer = ask(bench, &verb, ANSWER_LIMIT);
        for _ in 0..TRIES {
            if answer.is_err() {
                answer = ask(bench, &verb, ANSWER_LIMIT);
            }
        }
        let answer = answer?;
        let next =
            answer.split_once(" ok ").and_then(|(_, rest)| rest.split('*').next()?.parse().ok());
        next.ok_or_else(|| Fail::Seen(format!("push begin: {answer}")))
    }

    /// Sends until the byte `to`, and again what was lost.
    fn send(&self, bench: &mut Bench, to: usize) -> Outcome<()> {
        let mut at = self.begin(bench)?;
        while at < to {
            let heard = bench.plc.lines().len();
            let first = next_sequence(bench);
            let pieces: Vec<(u32, usize)> =
                (first..).zip((at..to).step_by(PIECE)).take(AHEAD).collect();
            for (number, at) in &pieces {
                let bytes = &self.row[*at..(at + PIECE).min(to)];
                send(bench, *number, &format!("push data {at} {}", base64(bytes)))?;
            }
            let mut all = true;
            for (number, _) in &pieces {
                let answer = reply(bench, heard, *number, ANSWER_LIMIT);
                all &= answer.is_ok_and(|text| text.contains(" ok "));
            }
            at = match all {
                true => (at + AHEAD * PIECE).min(to),
                false => self.begin(bench)?,
            };
        }
        Ok(())
    }

    fn end(&self, bench: &mut Bench) -> Outcome<String> {
        let (heard, number) = (bench.plc.lines().len(), next_sequence(bench));
        send(bench, number, "push end")?;
        reply(bench, heard, number, CHANGE_LIMIT)
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte))
            << (8 * (3 - three.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
