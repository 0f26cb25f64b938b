//! The file system by itself: quotas, names, links, renames.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

fn fs(bytes: u64, names: u32) -> Fs {
    Fs::new(bytes, names, 0)
}

fn make(fs: &mut Fs, path: &str) -> Result<Ino, Errno> {
    let found = fs.resolve(fs.root(), path.as_bytes(), true)?;
    fs.create_file(&found, 0)
}

fn mkdir(fs: &mut Fs, path: &str) -> Result<Ino, Errno> {
    let found = fs.resolve(fs.root(), path.as_bytes(), true)?;
    fs.create_dir(&found, 0)
}

fn find(fs: &mut Fs, path: &str) -> Found {
    fs.resolve(fs.root(), path.as_bytes(), false).unwrap()
}

fn unlink(fs: &mut Fs, path: &str) -> Result<(), Errno> {
    let found = find(fs, path);
    fs.unlink(&found, 0)
}

fn rename(fs: &mut Fs, from: &str, to: &str) -> Result<(), Errno> {
    let from = find(fs, from);
    let to = find(fs, to);
    fs.rename(&from, &to, 0)
}

#[test]
fn sym_33_inode_numbers_follow_creation_and_listings_are_sorted() {
    let mut fs = fs(100, 10);
    let b = make(&mut fs, "b").unwrap();
    let a = make(&mut fs, "a").unwrap();
    assert!(a > b);
    unlink(&mut fs, "b").unwrap();
    let c = make(&mut fs, "\u{e9}").unwrap();
    assert!(c > a, "numbers are not used again");
    make(&mut fs, "Z").unwrap();
    let names: Vec<_> = fs.list(fs.root()).unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names, [&b"."[..], b"..", b"Z", b"a", "\u{e9}".as_bytes()]);
}

#[test]
fn sym_33_bytes_are_cut_at_the_quota_and_come_back() {
    let mut fs = fs(10, 10);
    let a = make(&mut fs, "a").unwrap();
    assert_eq!(fs.write(a, 0, b"1234567", 1), Ok(7));
    assert_eq!(fs.write(a, 7, b"89abcd", 1), Ok(3));
    assert_eq!(fs.write(a, 10, b"x", 1), Err(Errno::NoSpc));
    assert_eq!(fs.write(a, 0, b"ABC", 1), Ok(3));
    assert_eq!(fs.write(a, u64::MAX, b"x", 1), Err(Errno::FBig));
    assert_eq!(fs.write(a, 1 << 60, b"x", 1), Err(Errno::NoSpc));
    assert_eq!(fs.bytes(a).unwrap(), b"ABC456789a");
    assert_eq!(fs.set_len(a, 11, 1), Err(Errno::NoSpc));
    fs.set_len(a, 4, 1).unwrap();
    assert_eq!(fs.take_bytes(100), 6);
    assert_eq!(fs.take_bytes(1), 0);
    unlink(&mut fs, "a").unwrap();
    assert_eq!(fs.take_bytes(100), 4);
}

#[test]
fn sym_33_every_hard_link_is_charged() {
    let mut fs = fs(10, 3);
    let a = make(&mut fs, "a").unwrap();
    fs.write(a, 0, b"1234", 0).unwrap();
    let b = find(&mut fs, "b");
    fs.link(a, &b, 0).unwrap();
    let c = find(&mut fs, "c");
    assert_eq!(fs.link(a, &c, 0), Err(Errno::NoSpc));
    // Two names: one more byte is two.
    assert_eq!(fs.write(a, 4, b"5678", 0), Ok(1));
    unlink(&mut fs, "a").unwrap();
    assert_eq!(fs.write(a, 5, b"6789abcdef", 0), Ok(5));
    let outputs = fs.outputs();
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[&b"b"[..]], b"123456789a");
}

#[test]
fn sym_33_both_names_of_a_file_are_outputs() {
    let mut fs = fs(100, 3);
    let a = make(&mut fs, "a").unwrap();
    fs.write(a, 0, b"1234", 0).unwrap();
    let b = find(&mut fs, "b");
    fs.link(a, &b, 0).unwrap();
    let outputs = fs.outputs();
    assert_eq!(outputs[&b"a"[..]], b"1234");
    assert_eq!(outputs[&b"b"[..]], b"1234");
}

#[test]
fn sym_33_an_open_file_outlives_its_name() {
    let mut fs = fs(10, 1);
    let a = make(&mut fs, "a").unwrap();
    fs.write(a, 0, b"12345678", 0).unwrap();
    fs.hold(a);
    unlink(&mut fs, "a").unwrap();
    assert_eq!(fs.bytes(a).unwrap(), b"12345678");
    assert_eq!(fs.take_bytes(100), 2, "still charged");
    fs.release(a);
    assert_eq!(fs.bytes(a), Err(Errno::BadF));
    assert_eq!(fs.take_bytes(100), 8);
    make(&mut fs, "b").unwrap();
    assert_eq!(make(&mut fs, "c"), Err(Errno::NoSpc));
}

#[test]
fn sym_33_inputs_cannot_be_changed() {
    let mut fs = fs(100, 10);
    let root = fs.root();
    let ino = fs.preload(root, b"dir/in.txt", Arc::from(&b"abc"[..]), Origin::Input, 0).unwrap();
    assert_eq!(fs.write(ino, 0, b"x", 0), Err(Errno::RoFs));
    assert_eq!(fs.set_len(ino, 0, 0), Err(Errno::RoFs));
    assert_eq!(fs.set_times(ino, Some(1), None, 0), Err(Errno::RoFs));
    assert_eq!(unlink(&mut fs, "dir/in.txt"), Err(Errno::RoFs));
    assert_eq!(rename(&mut fs, "dir/in.txt", "x"), Err(Errno::RoFs));
    assert_eq!(rename(&mut fs, "dir", "x"), Err(Errno::RoFs));
    make(&mut fs, "mine").unwrap();
    assert_eq!(rename(&mut fs, "mine", "dir/in.txt"), Err(Errno::RoFs));
    let other = find(&mut fs, "other");
    assert_eq!(fs.link(ino, &other, 0), Err(Errno::Perm));
    make(&mut fs, "dir/new").unwrap();
    let outputs: Vec<_> = fs.outputs().into_keys().collect();
    assert_eq!(outputs, [b"dir/new".to_vec(), b"mine".to_vec()]);
}

#[test]
fn sym_33_paths_stay_inside() {
    let mut fs = fs(100, 100);
    mkdir(&mut fs, "a").unwrap();
    let b = mkdir(&mut fs, "a/b").unwrap();
    make(&mut fs, "a/b/f").unwrap();
    let root = fs.root();
    for (path, error) in [
        ("..", Errno::Perm),
        ("a/../..", Errno::Perm),
        ("/a", Errno::Perm),
        ("", Errno::NoEnt),
        ("x/y", Errno::NoEnt),
        ("a/b/f/g", Errno::NotDir),
        ("a/b/f/", Errno::NotDir),
        ("a\0b", Errno::Inval),
    ] {
        assert_eq!(fs.resolve(root, path.as_bytes(), true).unwrap_err(), error, "{path:?}");
    }
    assert_eq!(fs.resolve(root, b"\xff", true).unwrap_err(), Errno::IlSeq);
    assert_eq!(fs.resolve(root, &[b'x'; 256], true).unwrap_err(), Errno::NameTooLong);
    assert_eq!(fs.resolve(root, &[b'/'; 2000], true).unwrap_err(), Errno::NameTooLong);
    assert_eq!(fs.resolve(b, b"../b", true).unwrap_err(), Errno::Perm);
    let found = fs.resolve(root, b"a/.//b/../b/./f", true).unwrap();
    assert_eq!((found.dir, found.name.as_slice()), (b, &b"f"[..]));
}

#[test]
fn sym_33_symbolic_links_resolve_and_stay_inside() {
    let mut fs = fs(100, 100);
    mkdir(&mut fs, "a").unwrap();
    let f = make(&mut fs, "a/f").unwrap();
    let root = fs.root();
    let link = |fs: &mut Fs, path: &str, target: &str| {
        let found = find(fs, path);
        fs.create_link(&found, target.as_bytes(), 0)
    };
    link(&mut fs, "l", "a/f").unwrap();
    link(&mut fs, "d", "a").unwrap();
    link(&mut fs, "a/up", "../a/f").unwrap();
    link(&mut fs, "out", "../x").unwrap();
    link(&mut fs, "loop", "loop").unwrap();
    assert_eq!(link(&mut fs, "abs", "/etc/passwd"), Err(Errno::Perm));
    assert_eq!(fs.resolve(root, b"l", true).unwrap().node, Some(f));
    assert_ne!(fs.resolve(root, b"l", false).unwrap().node, Some(f));
    assert_eq!(fs.resolve(root, b"d/up", true).unwrap().node, Some(f));
    assert_eq!(fs.resolve(root, b"out", true).unwrap_err(), Errno::Perm);
    assert_eq!(fs.resolve(root, b"loop", true).unwrap_err(), Errno::Loop);
    assert_eq!(fs.resolve(root, b"l/", true).unwrap_err(), Errno::NotDir);
}

#[test]
fn sym_33_renames_keep_the_tree_a_tree() {
    let mut fs = fs(100, 100);
    mkdir(&mut fs, "a").unwrap();
    mkdir(&mut fs, "a/b").unwrap();
    mkdir(&mut fs, "c").unwrap();
    make(&mut fs, "f").unwrap();
    assert_eq!(rename(&mut fs, "a", "a/b/x"), Err(Errno::Inval));
    assert_eq!(rename(&mut fs, "f", "a"), Err(Errno::IsDir));
    assert_eq!(rename(&mut fs, "a", "f"), Err(Errno::NotDir));
    assert_eq!(rename(&mut fs, "c", "a"), Err(Errno::NotEmpty));
    rename(&mut fs, "a", "c").unwrap();
    assert!(find(&mut fs, "c/b").node.is_some());
    assert!(find(&mut fs, "a").node.is_none());
    rename(&mut fs, "f", "f").unwrap();
    rename(&mut fs, "f", "c/b/g").unwrap();
    assert_eq!(fs.outputs().into_keys().collect::<Vec<_>>(), [b"c/b/g".to_vec()]);
}

#[test]
fn sym_33_depth_and_path_length_are_bounded_through_renames() {
    let mut fs = fs(100, 1000);
    let mut path = String::new();
    let mut depth = 0;
    loop {
        let next = if path.is_empty() { "d".to_owned() } else { format!("{path}/d") };
        match mkdir(&mut fs, &next) {
            Ok(_) => path = next,
            Err(error) => {
                assert_eq!(error, Errno::NameTooLong);
                break;
            }
        }
        depth += 1;
    }
    assert_eq!(depth, MAX_DIR_DEPTH);
    mkdir(&mut fs, "e").unwrap();
    mkdir(&mut fs, "e/e").unwrap();
    // Two levels more than fit under the second deepest.
    let deep = format!("{}/e", &path[..path.len() - 2]);
    assert_eq!(rename(&mut fs, "e", &deep), Err(Errno::NameTooLong));
    for i in 0..4 {
        let mut long = vec!["n".repeat(250); i + 1].join("/");
        let made = mkdir(&mut fs, &long);
        if i == 3 {
            made.unwrap();
            long.push_str("/1234567890123456789012");
            assert_eq!(make(&mut fs, &long), Err(Errno::NameTooLong));
            long.pop();
            long.pop();
            make(&mut fs, &long).unwrap();
        }
    }
}

#[test]
fn sym_33_a_removed_folder_takes_nothing_in() {
    let mut fs = fs(100, 10);
    let a = mkdir(&mut fs, "a").unwrap();
    fs.hold(a);
    let found = find(&mut fs, "a");
    fs.remove_dir(&found, 0).unwrap();
    let inside = fs.resolve(a, b"x", true).unwrap();
    assert_eq!(fs.create_file(&inside, 0), Err(Errno::NoEnt));
    let root = find(&mut fs, ".");
    assert_eq!(fs.remove_dir(&root, 0), Err(Errno::Inval));
}
