//! Small generated data sets for tests.

use std::path::Path;

use image::{GrayImage, Luma, Rgb, RgbImage};

/// Side of the generated pictures.
pub const SIDE: u32 = 48;

/// Writes a striped picture, with a dark square at `defect` if given, and its mask.
pub fn write_picture(path: &Path, shade: u8, defect: Option<(u32, u32, u32)>) {
    let inside = |x: u32, y: u32| {
        defect.is_some_and(|(dx, dy, side)| {
            (dx..dx + side).contains(&x) && (dy..dy + side).contains(&y)
        })
    };
    let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let stripe = if (x / 6) % 2 == 0 { 40 } else { 0 };
        if inside(x, y) { Rgb([10, 10, 10]) } else { Rgb([shade + stripe, shade + stripe, shade]) }
    });
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
    if defect.is_some() {
        let kind = path.parent().unwrap();
        let category = kind.parent().unwrap().parent().unwrap();
        let masks = category.join("ground_truth").join(kind.file_name().unwrap());
        std::fs::create_dir_all(&masks).unwrap();
        let stem = path.file_stem().unwrap().to_string_lossy();
        GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([if inside(x, y) { 255 } else { 0 }]))
            .save(masks.join(format!("{stem}_mask.png")))
            .unwrap();
    }
}

/// A category with masks: `train` enrolment, `clean` clean and six defective pictures of two kinds.
pub fn write_category(folder: &Path, train: u32, clean: u32) {
    for i in 0..train {
        write_picture(&folder.join(format!("train/good/{i:03}.png")), 100 + i as u8, None);
    }
    for i in 0..clean {
        write_picture(&folder.join(format!("test/good/{i:03}.png")), 101 + i as u8, None);
    }
    for i in 0..3 {
        let spot = Some((6 + 8 * i, 10, 6 + 2 * i));
        write_picture(&folder.join(format!("test/stain/{i:03}.png")), 102, spot);
        let spot = Some((20, 4 + 9 * i, 9));
        write_picture(&folder.join(format!("test/hole/{i:03}.png")), 99, spot);
    }
}

/// A category with a prompt per query and boxes, and nothing clean.
pub fn write_paired(folder: &Path) {
    write_picture(&folder.join("train/good/000.png"), 60, None);
    let mut pairs = String::from("query,prompt,label,mask\n");
    let mut boxes = String::from("query,x1,y1,x2,y2,type\n");
    for i in 0..4u32 {
        write_picture(&folder.join(format!("prompt/{i:03}.png")), 90 + 20 * i as u8, None);
        let (x, y) = (5 + 9 * i, 8 + 5 * i);
        let query = format!("test/defect/{i:03}.png");
        write_picture(&folder.join(&query), 90 + 20 * i as u8, Some((x, y, 8)));
        pairs += &format!("{query},prompt/{i:03}.png,1,ground_truth/defect/{i:03}_mask.png\n");
        let kind = if i % 2 == 0 { "open" } else { "short" };
        boxes += &format!("{query},{x},{y},{},{}.5,{kind}\n", x + 8, y + 8);
    }
    std::fs::write(folder.join("pairs.csv"), pairs).unwrap();
    std::fs::write(folder.join("boxes.csv"), boxes).unwrap();
}
