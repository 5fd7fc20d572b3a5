use super::testing::{write_category, write_paired, write_picture};
use super::*;

fn labels(categories: &[Category]) -> Vec<String> {
    categories.iter().map(Category::label).collect()
}

#[test]
fn all_three_depths_are_found() {
    let root = tempfile::tempdir().unwrap();
    write_category(&root.path().join("bench/cap"), 2, 5);
    write_category(&root.path().join("bench/axle"), 1, 2);
    write_paired(&root.path().join("boards/group1"));
    std::fs::write(root.path().join("manifest.csv"), "x").unwrap();
    let all = discover(root.path(), &[]).unwrap();
    assert_eq!(labels(&all), ["bench/axle", "bench/cap", "boards/group1"]);
    let set = discover(&root.path().join("bench"), &[]).unwrap();
    assert_eq!(labels(&set), ["bench/axle", "bench/cap"]);
    let one = discover(&root.path().join("bench/cap"), &[]).unwrap();
    assert_eq!(one, all[1..2]);
}

#[test]
fn a_category_reads_in_order() {
    let root = tempfile::tempdir().unwrap();
    write_category(&root.path().join("cap"), 3, 5);
    let category = discover(&root.path().join("cap"), &[]).unwrap().remove(0);
    let train: Vec<String> = category.train.iter().map(|p| super::stem(p)).collect();
    assert_eq!(train, ["000", "001", "002"]);
    let kinds: Vec<&str> = category.samples.iter().map(|s| s.kind.as_str()).collect();
    assert_eq!(kinds[..5], ["good"; 5]);
    assert_eq!(kinds[5..], ["hole", "hole", "hole", "stain", "stain", "stain"]);
    assert!(category.has_masks && category.has_picture_metrics() && !category.is_paired());
    let defect = &category.samples[6];
    assert!(defect.mask.as_ref().unwrap().ends_with("ground_truth/hole/001_mask.png"));
    assert!(category.samples[0].mask.is_none());
}

#[test]
fn few_clean_pictures_mean_no_picture_metrics() {
    let root = tempfile::tempdir().unwrap();
    write_category(root.path(), 1, 4);
    assert!(!discover(root.path(), &[]).unwrap()[0].has_picture_metrics());
}

#[test]
fn pairs_bring_their_own_prompt_and_boxes() {
    let root = tempfile::tempdir().unwrap();
    write_paired(root.path());
    let category = discover(root.path(), &[]).unwrap().remove(0);
    assert!(category.is_paired() && category.has_boxes && category.has_masks);
    let sample = &category.samples[1];
    assert!(sample.prompt.as_ref().unwrap().ends_with("prompt/001.png"));
    assert_eq!(sample.boxes.len(), 1);
    assert_eq!((sample.boxes[0].x1, sample.boxes[0].y2), (14.0, 21.5));
    assert_eq!(sample.boxes[0].kind, "short");
}

#[test]
fn sets_are_chosen_by_name() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a/x", "a/y", "b/z"] {
        write_category(&root.path().join(name), 1, 1);
    }
    let of = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
        discover(root.path(), &sets).map(|c| labels(&c))
    };
    assert_eq!(of(&["a"]).unwrap(), ["a/x", "a/y"]);
    assert_eq!(of(&["b", "a/y"]).unwrap(), ["a/y", "b/z"]);
    let message = of(&["c"]).unwrap_err().to_string();
    assert!(message.contains("--sets c") && message.contains("a/x"), "{message}");
}

#[test]
fn missing_things_are_named() {
    let root = tempfile::tempdir().unwrap();
    let message = |result: Result<Vec<Category>, DatasetError>| result.unwrap_err().to_string();
    assert!(message(discover(root.path(), &[])).contains("no category found"));
    assert!(message(discover(&root.path().join("nowhere"), &[])).contains("nowhere"));
    std::fs::create_dir_all(root.path().join("train/good")).unwrap();
    assert!(message(discover(root.path(), &[])).contains("train/good: no pictures"));
    write_picture(&root.path().join("train/good/0.png"), 9, None);
    assert!(message(discover(root.path(), &[])).contains("test: "));
    write_picture(&root.path().join("test/dent/7.png"), 9, Some((1, 1, 3)));
    assert_eq!(discover(root.path(), &[]).unwrap().len(), 1);
    let mask = root.path().join("ground_truth/dent/7_mask.png");
    std::fs::remove_file(&mask).unwrap();
    assert!(message(discover(root.path(), &[])).contains("7_mask.png"));
    std::fs::remove_dir_all(root.path().join("ground_truth")).unwrap();
    assert!(!discover(root.path(), &[]).unwrap()[0].has_masks);
}

#[test]
fn bad_csv_lines_are_named() {
    let root = tempfile::tempdir().unwrap();
    write_paired(root.path());
    let pairs = root.path().join("pairs.csv");
    let boxes = root.path().join("boxes.csv");
    let good = (std::fs::read_to_string(&pairs).unwrap(), std::fs::read_to_string(&boxes).unwrap());
    let refused = |file: &Path, text: &str, expected: &str| {
        std::fs::write(file, text).unwrap();
        let message = discover(root.path(), &[]).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        std::fs::write(&pairs, &good.0).unwrap();
        std::fs::write(&boxes, &good.1).unwrap();
    };
    refused(&pairs, "a,b\n", "pairs.csv:1: header");
    refused(&pairs, "query,prompt,label,mask\nx.png,y.png,1\n", "pairs.csv:2: 3 fields");
    refused(&pairs, "query,prompt,label,mask\nx.png,y.png,1,\n", "x.png does not exist");
    refused(&pairs, &good.0.replace(",1,", ",yes,"), "label is `yes`");
    refused(&boxes, &format!("{}z.png,1,2,3,4,open\n", good.1), "boxes.csv:6: query `z.png`");
    refused(&boxes, &good.1.replace("open", "open,x"), "boxes.csv:2: 7 fields");
    refused(&boxes, &good.1.replace(",5,", ",nan,"), "`nan` is not a coordinate");
    refused(&boxes, &good.1.replace(",5,", ",99,"), "empty box");
}

#[test]
fn a_limit_keeps_both_kinds() {
    let root = tempfile::tempdir().unwrap();
    write_category(root.path(), 1, 9);
    let mut category = discover(root.path(), &[]).unwrap().remove(0);
    category.limit(4);
    assert_eq!(category.samples.len(), 4);
    assert!(!category.samples[0].defective && category.samples[3].defective);
    category.limit(100);
    assert_eq!(category.samples.len(), 4);
}
