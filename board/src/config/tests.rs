use super::*;
use crate::camera::pixels::PixelFormat;
use proptest::prelude::*;

const USB: &str = include_str!("../../boards/generic-usb-camera.toml");
const SIMULATED: &str = include_str!("../../boards/simulated.toml");

#[test]
fn the_examples_parse() {
    let board = Board::parse(USB).unwrap();
    let CameraConfig::V4l2(camera) = &board.camera else { panic!("not V4L2: {board:?}") };
    assert_eq!((camera.width, camera.height), (Some(1280), Some(720)));
    assert_eq!(camera.format, Some(PixelFormat::Mjpeg));
    let trigger = board.trigger.as_ref().unwrap();
    assert_eq!((trigger.wire.line, trigger.debounce), (17, Duration::from_micros(500)));
    let roles: Vec<OutputRole> = board.outputs.iter().map(|output| output.role).collect();
    let all = [OutputRole::Reject, OutputRole::Fault, OutputRole::Heartbeat, OutputRole::Notice];
    assert_eq!(roles, all);
    assert!(board.outputs.iter().find(|o| o.role == OutputRole::Fault).unwrap().fail_safe);
    let path = PathBuf::from("/dev/ttyUSB0");
    assert_eq!(board.serial, [SerialConfig { role: SerialRole::Results, path, baud: 115_200 }]);

    let board = Board::parse(SIMULATED).unwrap();
    let CameraConfig::Simulated(line) = &board.camera else { panic!("not simulated: {board:?}") };
    assert_eq!(
        (line.size, line.shift, line.rotation_deg, line.light),
        ((512, 512), 0.03, 3.0, 0.15)
    );
    assert!(board.trigger.is_none() && board.outputs.is_empty());
}

#[test]
fn every_board_file_parses_and_is_safe() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/boards");
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let board = Board::load(&path).unwrap_or_else(|e| panic!("{e}"));
        let wired = |role| board.outputs.iter().any(|line| line.role == role);
        assert!(!wired(OutputRole::Reject) || wired(OutputRole::Heartbeat), "{}", path.display());
        let jetson = board.name.contains("Orin");
        let lines = board.input_lines();
        let mut wires = lines.iter().map(|l| &l.wire).chain(board.outputs.iter().map(|l| &l.wire));
        assert!(!jetson || wires.all(|w| w.pinmux.is_some() && w.pin.is_some()));
        names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    let wanted = [
        "generic-usb-camera",
        "generic-x86",
        "imx8mp-evk",
        "jetson-nano",
        "jetson-orin-nano",
        "qemu-virt",
        "raspberry-pi-4",
        "raspberry-pi-5",
        "simulated",
    ];
    assert!(wanted.iter().all(|name| names.iter().any(|n| n == name)), "{names:?}");
}

#[test]
fn lines_have_bias_drive_and_a_label() {
    let board = Board::parse(&USB.replacen(
        "debounce_us = 500",
        "bias = \"pull-up\"\npin = 11\npinmux = \"as GPIO\"",
        1,
    ));
    let wire = board.unwrap().trigger.unwrap().wire;
    assert_eq!((wire.bias, wire.pin), (Some(Bias::PullUp), Some(11)));
    assert_eq!(wire.pinmux.as_deref(), Some("as GPIO"));
    let open = USB.replacen("role = \"reject\"", "role = \"fault\"\ndrive = \"open-drain\"", 1);
    let open = open.replacen("role = \"error\"", "role = \"busy\"", 1);
    let board = Board::parse(&open).unwrap();
    assert_eq!(
        (board.outputs[0].role, board.outputs[0].drive),
        (OutputRole::Fault, Drive::OpenDrain)
    );
    assert_eq!(board.outputs[1].role.to_string(), "busy");
    let error = changed("debounce_us = 500", "drive = \"open-drain\"");
    assert!(error.contains("[[gpio]] drive: this is an input"), "{error}");
    let error = changed("role = \"trigger\"", "role = \"encoder_b\"");
    assert!(error.contains("encoder_b without encoder_a; wire both"), "{error}");
    let error = changed("chip = \"/dev/gpiochip0\"", "chip = \"label:\"");
    assert!(error.contains("[[gpio]] chip: not a chip; name a device"), "{error}");
}

#[test]
fn modbus_is_off_and_on_loopback_unless_told_otherwise() {
    assert_eq!(Board::parse(USB).unwrap().modbus, None);
    let with = |table: &str| Board::parse(&format!("{USB}\n[modbus]\n{table}")).map(|b| b.modbus);
    let tcp = |listen: &str| Some(TcpConfig { listen: listen.parse().unwrap() });
    let on = with("tcp = true").unwrap().unwrap();
    assert_eq!((on.unit, on.tcp), (1, tcp("127.0.0.1:502")));
    let on = with("tcp = true\nunit = 9\naddress = \"10.0.0.7\"\nport = 1502").unwrap().unwrap();
    assert_eq!((on.unit, on.tcp), (9, tcp("10.0.0.7:1502")));
    for (table, wrong) in [
        ("", "[modbus]: reaches nobody; set tcp = true"),
        ("tcp = true\nunit = 248", "[modbus] unit: 248 is out of range; set it from 1 to 247"),
        ("tcp = true\naddress = \"plc\"", "[modbus] address: invalid IP address"),
        ("tcp = true\nport = 0", "[modbus] port: 0 is out of range"),
        ("tcp = true\nthreshold = 0", "unknown field `threshold`"),
    ] {
        let error = with(table).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
    let rtu = USB.replace("role = \"results\"", "role = \"modbus\"");
    let board = Board::parse(&rtu).unwrap();
    assert_eq!(board.modbus, Some(ModbusConfig { unit: 1, tcp: None }));
    let error = Board::parse(&format!("{rtu}\n[modbus]\nport = 502")).unwrap_err().to_string();
    assert!(error.contains("[modbus] port: is for TCP, which is off"), "{error}");
    let second = "\n[[serial]]\nrole = \"modbus\"\npath = \"/dev/ttyS9\"\nbaud = 9600\n";
    let error = Board::parse(&(rtu + second)).unwrap_err().to_string();
    assert!(error.contains("[[serial]] role: a second port for Modbus; keep one"), "{error}");
}

/// The USB example with one piece of text replaced.
fn changed(from: &str, to: &str) -> String {
    assert!(USB.contains(from), "{from:?} is not in the example");
    Board::parse(&USB.replacen(from, to, 1)).unwrap_err().to_string()
}

fn line_of(what: &str) -> usize {
    1 + USB[..USB.find(what).unwrap()].matches('\n').count()
}

#[test]
fn errors_name_key_line_and_remedy() {
    let width = line_of("width = 1280");
    let error = changed("width = 1280", "width = 9999");
    let wanted = format!(
        "board file line {width}: [camera] width: 9999 is out of range; set it from 16 to 8192"
    );
    assert_eq!(error, wanted);
    let error = changed("width = 1280", "widht = 1280");
    assert!(
        error.contains(&format!("line {width}")) && error.contains("unknown field `widht`"),
        "{error}"
    );
    let error = changed("width = 1280\n", "");
    assert!(error.contains("[camera] width: missing; give both width and height, or neither"));
    let error = changed("\"MJPG\"", "\"H264\"");
    assert!(error.contains("H264") && error.contains("YUYV"), "{error}");
    let error = changed("baud = 115200", "baud = 12");
    assert!(error.contains("[[serial]] baud: 12 is no baud rate; set one of 9600"), "{error}");
    let error = changed("line = 27", "line = 17");
    assert!(error.contains("/dev/gpiochip0 line 17 has a role already"), "{error}");
    let error = changed("role = \"error\"", "role = \"reject\"");
    assert!(error.contains("[[gpio]] role: given twice"), "{error}");
    let error = changed("debounce_us = 500", "fail_safe = \"active\"");
    assert!(error.contains("this is an input; remove it"), "{error}");
    let error = changed("debounce_us = 500", "debounce_us = 2000000");
    assert!(error.contains("2000000 is out of range; set it from 0 to 1000000"), "{error}");
}

#[test]
fn an_error_is_one_line_whatever_it_quotes() {
    let error = Board::parse(
        "name = \"x\"\n[camera]\nkind = \"simulated\"\n[storage]\nremovable = true\n\
         mount_root = \"a\\nroot: all is well\\u001b[2J\"\n",
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("a\\nroot: all is well\\u{1b}[2J is no folder below /"), "{error}");
    assert!(!error.contains(char::is_control), "{error}");
}

#[test]
fn a_dead_camera_never_promises() {
    let heartbeat = "role = \"heartbeat\"\nchip = \"/dev/gpiochip0\"\nline = 23\nactive = \"high\"\nfail_safe = \"";
    let error = changed(&format!("{heartbeat}inactive"), &format!("{heartbeat}active"));
    assert!(error.contains("heartbeat would be active with nobody inspecting"), "{error}");
}

#[test]
fn keys_of_another_camera_are_mistakes() {
    let error = changed("width = 1280", "width = 1280\nrepeat = true");
    assert!(error.contains("[camera] repeat: does not belong to this kind of camera"), "{error}");
    let error = Board::parse(
        "name = \"x\"\n[camera]\nkind = \"simulated\"\n[[gpio]]\nrole = \"trigger\"\n\
                              chip = \"c\"\nline = 1\nactive = \"high\"\n",
    );
    assert!(error.unwrap_err().to_string().contains("brings its own trigger"));
    let error =
        Board::parse("name = \"x\"\n[camera]\nkind = \"simulated\"\nlight = 2.0\n").unwrap_err();
    assert_eq!(error.line, Some(2));
    assert!(error.what.contains("light = 2"), "{error}");
}

#[test]
fn odd_yuyv_and_odd_files() {
    let text = USB.replace("\"MJPG\"", "\"YUYV\"").replace("width = 1280", "width = 1281");
    assert!(Board::parse(&text).unwrap_err().to_string().contains("packs pixels in pairs"));
    let folder = tempfile::tempdir().unwrap();
    let missing = Board::load(&folder.path().join("no.toml")).unwrap_err().to_string();
    assert!(
        missing.contains("no.toml") && missing.contains("name a readable board file"),
        "{missing}"
    );
    let path = folder.path().join("big.toml");
    std::fs::write(&path, vec![b'#'; FILE_MAX as usize + 1]).unwrap();
    assert!(Board::load(&path).unwrap_err().to_string().contains("at most 65536"));
    std::fs::write(&path, "name = 3").unwrap();
    assert!(Board::load(&path).unwrap_err().to_string().contains("big.toml line 1"));
}

fn v4l2(keys: &str) -> Result<V4l2Config, String> {
    let text = format!("name = \"x\"\n[camera]\nkind = \"v4l2\"\npath = \"/dev/video0\"\n{keys}");
    match Board::parse(&text).map_err(|e| e.to_string())?.camera {
        CameraConfig::V4l2(camera) => Ok(camera),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_v4l2_camera_needs_no_more_than_its_path() {
    assert_eq!(v4l2(""), Ok(V4l2Config::at("/dev/video0".into())));
    let all = v4l2(
        "serial = \"A1\"\nformat = \"NV12\"\nrate = 29.97\n[camera.controls]\nexposure_us = 4000\n\
         auto_gain = false\nscene_mode = \"night\"\n",
    )
    .unwrap();
    assert_eq!((all.serial.as_deref(), all.format), (Some("A1"), Some(PixelFormat::Nv12)));
    assert_eq!((all.rate, all.width), (Some(29.97), None));
    let controls = [
        ("auto_gain".to_owned(), ControlValue::Switch(false)),
        ("exposure_us".to_owned(), ControlValue::Number(4000)),
        ("scene_mode".to_owned(), ControlValue::Word("night".to_owned())),
    ];
    assert_eq!(all.controls, controls);
}

#[test]
fn v4l2_keys_have_bounds_and_kinds() {
    let error = v4l2("rate = 0.0").unwrap_err();
    assert!(error.contains("line 5: [camera] rate: 0 is out of range; set it from 0.1 to 1000"));
    let error = v4l2("serial = \" \"").unwrap_err();
    assert!(
        error.contains("[camera] serial: empty; name what `touchstone doctor` lists"),
        "{error}"
    );
    let error = v4l2("height = 480").unwrap_err();
    assert!(error.contains("[camera] width: missing"), "{error}");
    let error = v4l2("[camera.controls]\ngain = 1.5").unwrap_err();
    assert!(error.contains("line 6: [camera.controls] gain: float is no value"), "{error}");
    let many: String = (0..65).map(|i| format!("c{i} = 1\n")).collect();
    let error = v4l2(&format!("[camera.controls]\n{many}")).unwrap_err();
    assert!(error.contains("[camera.controls]: 65 controls; set at most 64"), "{error}");
    let odd = v4l2("format = \"NV12\"\nwidth = 641\nheight = 480").unwrap_err();
    assert!(odd.contains("641 is odd, NV12 packs pixels in pairs"), "{odd}");
    let text = "name = \"x\"\n[camera]\nkind = \"files\"\npath = \"a\"\nserial = \"A\"\n";
    assert!(
        Board::parse(text).unwrap_err().to_string().contains("[camera] serial: does not belong")
    );
}

#[test]
fn files_camera() {
    let text = "name = \"replay\"\n[camera]\nkind = \"files\"\npath = \"parts\"\nrate = 4.0\nrepeat = true\n";
    let board = Board::parse(text).unwrap();
    let files = FilesConfig { path: PathBuf::from("parts"), rate: 4.0, repeat: true };
    assert_eq!(board.camera, CameraConfig::Files(files));
    for bad in ["0.0", "-1.0", "nan", "inf", "1e9"] {
        assert!(Board::parse(&text.replace("4.0", bad)).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Board::parse(&text);
    }

    #[test]
    fn damaged_examples_never_panic(at in 0usize..4000, to in any::<char>(), cut in 0usize..4000) {
        let mut text: Vec<char> = USB.chars().collect();
        let (at, cut) = (at % text.len(), cut % text.len());
        text[at] = to;
        let damaged: String = text.iter().collect();
        if let Err(error) = Board::parse(&damaged) {
            prop_assert!(!error.to_string().contains('\n'));
        }
        text.truncate(cut);
        let _ = Board::parse(&text.into_iter().collect::<String>());
    }

    #[test]
    fn numbers_are_bounded(width in any::<i64>(), line in any::<i64>()) {
        let text = USB.replace("width = 1280", &format!("width = {width}"))
            .replace("line = 27", &format!("line = {line}"));
        if let Ok(board) = Board::parse(&text) {
            let CameraConfig::V4l2(camera) = board.camera else { panic!() };
            prop_assert!((16..=8192).contains(&camera.width.unwrap()));
            prop_assert!(board.outputs.iter().all(|output| output.wire.line <= LINE_MAX));
        }
    }
}
