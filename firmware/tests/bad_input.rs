//! Bad input, as its users meet it: what is wrong, where, what to do, the right
//! exit status, and nothing half-written.

mod common;

use std::fs;

use common::{Desk, SIMULATED, chunk, encode, png, png_header, simulated_line};
use image::ExtendedColorType;

#[test]
fn each_unreadable_picture_is_named_with_what_to_do() {
    let desk = Desk::new();
    desk.good("good.png");
    let whole = png((64, 64), None);
    desk.write("truncated.png", &whole[..whole.len() / 2]);
    desk.write("empty.png", b"");
    desk.write("text.png", b"this is no picture at all");
    desk.write(
        "huge.png",
        [png_header(60_000, 60_000), chunk(b"IDAT", &[]), chunk(b"IEND", &[])].concat(),
    );
    desk.write("dot.png", encode(1, 1, &[9, 9, 9], ExtendedColorType::Rgb8));
    let mut cmyk = vec![0xff, 0xd8, 0xff, 0xc0, 0, 20, 8, 0, 32, 0, 32, 4];
    cmyk.extend([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0]);
    desk.write("cmyk.jpg", cmyk);
    let rest = whole[33..].to_vec();
    let animated = [png_header(64, 64), chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]), rest].concat();
    desk.write("animated.png", animated);
    fs::create_dir(desk.path("folder.png")).unwrap();
    let cases = [
        ("missing.png", "no such file"),
        ("truncated.png", "truncated"),
        ("empty.png", "empty"),
        ("text.png", "PNG and JPEG"),
        ("huge.png", "60000 x 60000"),
        ("dot.png", "1 x 1"),
        ("cmyk.jpg", "CMYK"),
        ("animated.png", "animated"),
        ("folder.png", "folder"),
    ];
    for (name, why) in cases {
        let query =
            format!("inspect --model ./tiny --prompt good.png --json --maps maps {name} good.png");
        let said = desk.run(&query);
        said.fails(2, &[name, why, "1 of 2 pictures"]);
        assert_eq!(said.json().len(), 1, "the other picture is judged");
        assert_eq!(desk.left("maps"), ["good.png"], "no map of {name}");
        let prompt = desk.run(&format!("inspect --model ./tiny --prompt {name} --maps m good.png"));
        prompt.fails(2, &[name, why]);
        assert!(prompt.out.is_empty(), "nothing is judged against {name}");
        assert!(!desk.path("m").exists(), "nothing is left behind for {name}");
        let taught = desk.run(&format!("teach --model ./tiny --name part {name}"));
        taught.fails(2, &[name, why]);
        assert!(!desk.path("part").exists());
    }
    assert!(desk.left(".").iter().all(|n| !n.contains(".part")), "{:?}", desk.left("."));
}

#[test]
fn sixteen_bit_and_grey_pictures_are_judged() {
    let desk = Desk::new();
    desk.good("good.png");
    let deep: Vec<u8> = std::iter::repeat_n([90u16 << 8, 100 << 8, 110 << 8], 64 * 64)
        .flatten()
        .flat_map(u16::to_ne_bytes)
        .collect();
    desk.write("deep.png", encode(64, 64, &deep, ExtendedColorType::Rgb16));
    desk.run("inspect --model ./tiny --prompt good.png deep.png").ends(0);
    desk.write("grey.png", encode(64, 64, &[100; 64 * 64], ExtendedColorType::L8));
    let said = desk.run("inspect --model ./tiny --prompt grey.png grey.png");
    said.ends(0);
}

#[test]
fn another_aspect_ratio_is_a_reject_or_a_wrong_prompt() {
    let desk = Desk::new();
    desk.good("good.png");
    desk.picture("wide.png", (128, 64), None);
    let one =
        desk.run("inspect --model ./tiny --prompt good.png --json --maps maps good.png wide.png");
    one.fails(1, &["wide.png", "128 x 64", "64 x 64", "camera settings"]);
    assert_eq!(one.json()[1]["reason"], "wrong_size");
    let map = image::open(desk.path("maps/wide.png")).unwrap().into_luma16();
    assert!(map.pixels().all(|p| p.0[0] == u16::MAX), "what cannot be judged differs everywhere");
    desk.run("inspect --model ./tiny --prompt wide.png good.png")
        .fails(2, &["wide.png", "aspect ratio"]);
    desk.run("inspect --model ./tiny --prompt good.png --prompt wide.png good.png")
        .fails(2, &["prompt 2", "128x64", "64x64"]);
    desk.run("teach --model ./tiny --name part good.png wide.png")
        .fails(2, &["prompt 2", "128x64"]);
    assert!(!desk.path("part").exists());
}

#[test]
fn missing_corrupt_and_foreign_models_are_told_apart() {
    let desk = Desk::new();
    desk.good("good.png");
    let with =
        |model: &str| desk.run(&format!("inspect --model {model} --prompt good.png good.png"));
    with("no-such-model").fails(3, &["no-such-model", "looked in"]);
    with("./nowhere").fails(3, &["nowhere"]);
    let copy = |name: &str| desk.model_with(name, |_| {});
    let corrupt = copy("corrupt").join("encode.nnef.tar");
    let mut bytes = fs::read(&corrupt).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&corrupt, bytes).unwrap();
    with("./corrupt").fails(3, &["encode.nnef.tar"]);
    fs::remove_file(copy("half").join("segment.nnef.tar")).unwrap();
    with("./half").fails(3, &["segment.nnef.tar"]);
    let card = |name: &str, from: &str, to: &str| {
        let file = copy(name).join("model.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from:?} is not in the card");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
    };
    card("foreign", "touchstone-oneprompt-1", "somebody-elses-net");
    with("./foreign").fails(3, &["somebody-elses-net"]);
    card("unknown", "version = 1", "version = 1\ncolour = \"red\"");
    with("./unknown").fails(3, &["model.toml", "colour"]);
    let run =
        |what: &str| desk.run(&format!("inspect --model ./tiny {what} --prompt good.png good.png"));
    run("--engine ort").fails(2, &["ort", "--engine tract"]);
    run("--engine cuda").fails(2, &["cuda"]);
    run("--threads 0").fails(2, &["--threads 0"]);
    desk.run("demo --model ./nowhere --out d").fails(3, &["nowhere"]);
    assert!(!desk.path("d").exists(), "no folder is left for a demo that never ran");
}

#[test]
fn a_nan_in_the_graph_rejects_the_part() {
    let desk = Desk::new();
    desk.model_with_nan("nan");
    let plain = |level: u8| encode(64, 64, &[level; 3 * 64 * 64], ExtendedColorType::Rgb8);
    desk.write("white.png", plain(255));
    desk.write("black.png", plain(0));
    let said = desk.run("inspect --model ./nan --prompt white.png --json --maps maps black.png");
    let verdict = &said.ends(1).json()[0];
    assert_eq!(
        (verdict["verdict"].as_str(), verdict["reason"].as_str()),
        (Some("reject"), Some("not_finite"))
    );
    assert_eq!((verdict["score"].as_f64(), verdict["p_value"].as_f64()), (Some(1.0), Some(0.0)));
    // A good part that cannot be encoded is a failure of the model, not a part.
    desk.run("inspect --model ./nan --prompt black.png white.png").fails(3, &["NaN or infinity"]);
}

#[test]
fn results_never_go_where_they_cannot_or_must_not() {
    let desk = Desk::new();
    desk.good("good.png");
    desk.good("parts/good.png");
    desk.write("file", b"in the way");
    let run = |what: &str| desk.run(&format!("inspect --model ./tiny --prompt good.png {what}"));
    for flag in ["--maps", "--overlay"] {
        run(&format!("{flag} file/folder good.png")).fails(2, &[flag, "file/folder", "may write"]);
        run(&format!("{flag} file good.png")).fails(2, &[flag]);
        run(&format!("{flag} . good.png")).fails(2, &["good.png would be overwritten"]);
    }
    run("--maps m good.png parts/good.png").fails(2, &["good.png and parts/good.png"]);
    run("--maps m --overlay m good.png").fails(2, &["--maps and --overlay"]);
    assert!(!desk.path("m").exists());
    assert_eq!(fs::read(desk.path("good.png")).unwrap(), png((64, 64), None));
    desk.run("demo --model ./tiny --out file").fails(2, &["--out", "file"]);
    desk.write("site/index.html", b"<html>my own page</html>");
    desk.run("demo --model ./tiny --out site").fails(2, &["index.html", "not from a demo"]);
    desk.run("teach --model ./tiny --name part --out file/part good.png").fails(2, &["file"]);
    desk.run("teach --model ./tiny --name part --out site good.png").fails(2, &["site"]);
}

#[test]
fn broken_recipes_are_refused_with_key_and_line() {
    let desk = Desk::new();
    desk.good("a.png");
    desk.run("teach --model ./tiny --name part a.png").ends(0);
    desk.model_with("other", |card| card.id = "other".to_owned());
    let inspect = || desk.run("inspect --model ./tiny --recipe part a.png");
    desk.run("inspect --model ./other --recipe part a.png")
        .fails(2, &["taught with model tiny", "other"]);
    desk.run("inspect --recipe nowhere a.png").fails(2, &["nowhere"]);
    desk.run("inspect --recipe tiny a.png").fails(2, &["is no recipe"]);
    desk.run("recipe show nowhere").fails(2, &["nowhere"]);
    let file = desk.path("part/recipe.toml");
    let sound = fs::read_to_string(&file).unwrap();
    fs::write(&file, sound.replacen("version", "colour = \"red\"\nversion", 1)).unwrap();
    inspect().fails(2, &["recipe.toml", "colour", "line"]);
    desk.run("recipe list").fails(2, &["colour", "1 of 1 recipes"]);
    fs::write(&file, sound.replace("false_reject_ppm = 1000", "false_reject_ppm = 0")).unwrap();
    inspect().fails(2, &["recipe.toml", "false_reject_ppm"]);
    fs::write(&file, &sound).unwrap();
    desk.write("part/prompts/notes.txt", b"hello");
    inspect().fails(2, &["notes.txt"]);
}

#[test]
fn wrong_configurations_name_file_line_and_key() {
    let desk = simulated_line();
    let config = fs::read_to_string(desk.path("line.toml")).unwrap();
    let with = |from: &str, to: &str| {
        assert!(config.contains(from), "{from}");
        desk.write("wrong.toml", config.replacen(from, to, 1));
        desk.run("run --config wrong.toml --parts 1")
    };
    desk.run("run --config gone.toml").fails(2, &["gone.toml", "example"]);
    with("[line]", "colour = 3\n[line]").fails(2, &["wrong.toml line 4", "colour"]);
    with("travel_ms = 600", "travel_ms = \"soon\"").fails(2, &["wrong.toml line 5"]);
    with("travel_ms = 600", "travel_ms = 90").fails(2, &["line.travel_ms"]);
    with("\"board.toml\"", "\"gone.toml\"").fails(2, &["board", "gone.toml"]);
    with("\"part\"", "\"gone\"").fails(2, &["gone", "teach"]);
    with("\"./tiny\"", "\"./gone\"").fails(3, &["gone"]);
    with("\"results\"", "\"board.toml/x\"").fails(2, &["output.dir"]);
    desk.write("board.toml", SIMULATED.replace("parts = 0", "parts = 0\nspeed = 3"));
    desk.run("run --config line.toml").fails(2, &["board.toml", "line 7", "speed"]);
    let camera = "name = \"usb\"\n[camera]\nkind = \"v4l2\"\npath = \"/dev/video4711\"\nformat = \"YUYV\"\n\
                  width = 64\nheight = 64\n";
    desk.write("board.toml", camera);
    desk.run("run --config line.toml").fails(3, &["/dev/video4711"]);
    let doctor = desk.run("doctor --config line.toml");
    assert!(doctor.ends(3).out.contains("BROKEN"), "{doctor:?}");
    assert!(doctor.out.contains("/dev/video4711"));
}
