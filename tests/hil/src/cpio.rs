//! The archive format of an initramfs (cpio, "newc"), written so that the same files give the same
//! bytes: sorted by name, numbered in order, all times zero, all owned by root.

use std::collections::BTreeMap;

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder,
    /// A file, and whether it is a program.
    File(Vec<u8>, bool),
    /// A symbolic link.
    Link(String),
    /// A character device: the kernel opens `/dev/console` before anybody can mount `/dev`.
    Device(u32, u32),
}

/// Files by path, without a leading slash.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    nodes: BTreeMap<String, Node>,
}

impl Archive {
    /// Puts something at `path`, with the folders above it.
    pub fn add(&mut self, path: &str, node: Node) {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            self.nodes.entry(path[..at].to_owned()).or_insert(Node::Folder);
        }
        self.nodes.insert(path.to_owned(), node);
    }

    /// The archive's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Folders sort before what is in them, because their names are shorter.
        for (number, (path, node)) in self.nodes.iter().enumerate() {
            let (mode, data, device): (u32, &[u8], (u32, u32)) = match node {
                Node::Folder => (0o040_755, &[], (0, 0)),
                Node::File(data, true) => (0o100_755, data, (0, 0)),
                Node::File(data, false) => (0o100_644, data, (0, 0)),
                Node::Link(to) => (0o120_777, to.as_bytes(), (0, 0)),
                Node::Device(major, minor) => (0o020_600, &[], (*major, *minor)),
            };
            entry(&mut out, number as u32 + 1, path, mode, data, device);
        }
        entry(&mut out, 0, "TRAILER!!!", 0, &[], (0, 0));
        // The kernel looks for a following archive at a multiple of four; 512 is tradition.
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }
}

fn entry(out: &mut Vec<u8>, number: u32, name: &str, mode: u32, data: &[u8], device: (u32, u32)) {
    let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
    let fields = [
        number,
        mode,
        0, // uid
        0, // gid
        links,
        0, // mtime
        data.len() as u32,
        0, // device it lies on
        0,
        device.0,
        device.1,
        name.len() as u32 + 1,
        0, // checksum, unused
    ];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_files_same_bytes_whatever_the_order() {
        let mut one = Archive::default();
        one.add("/bin/sh", Node::File(b"x".to_vec(), true));
        one.add("/a", Node::Link("bin".to_owned()));
        let mut two = Archive::default();
        two.add("/a", Node::Link("bin".to_owned()));
        two.add("/bin/sh", Node::File(b"x".to_vec(), true));
        assert_eq!(one.bytes(), two.bytes());
    }

    #[test]
    fn an_archive_reads_as_the_format_says() {
        let mut archive = Archive::default();
        archive.add("bin/sh", Node::File(b"hello".to_vec(), true));
        let bytes = archive.bytes();
        assert_eq!(bytes.len() % 512, 0);
        // Folder first: magic, inode 1, mode 040755.
        assert_eq!(&bytes[..22], b"07070100000001000041ED");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let file = text.find("bin/sh\0").unwrap();
        // Header of 110 bytes before the name; mode of a program, and the size.
        assert_eq!(&text[file - 110 + 14..file - 110 + 22], "000081ED");
        assert_eq!(&text[file - 110 + 54..file - 110 + 62], "00000005");
        let data = (file + 7).next_multiple_of(4);
        assert_eq!(&bytes[data..data + 5], b"hello");
        assert!(text.contains("TRAILER!!!\0"));
    }
}
