//! Guests that look for a way out: paths, links, names that are none.

use super::guest;
use crate::guest::{exited, wasi};

/// `$stat` describes a path and gives the errno, `$open` opens one for reading and
/// writing, `$make` makes a file, `$link` a symbolic link.
const CALLS: &str = "
    (func $stat (param i32 i32) (result i32)
      (call $path_filestat_get (i32.const 3) (i32.const 1) (local.get 0) (local.get 1) (i32.const 4096)))
    (func $open (param i32 i32) (result i32)
      (call $path_open (i32.const 3) (i32.const 1) (local.get 0) (local.get 1) (i32.const 0)
        (i64.const 0x42) (i64.const 0) (i32.const 0) (i32.const 4200)))
    (func $make (param i32 i32) (result i32)
      (call $path_open (i32.const 3) (i32.const 1) (local.get 0) (local.get 1) (i32.const 1)
        (i64.const 0x42) (i64.const 0) (i32.const 0) (i32.const 4200)))
    (func $link (param i32 i32 i32 i32) (result i32)
      (call $path_symlink (local.get 0) (local.get 1) (i32.const 3) (local.get 2) (local.get 3)))";

fn quoted(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A guest that finds these paths in its memory; `{n}` in the body becomes the place
/// and length of the n-th.
fn paths(paths: &[&[u8]], body: &str) -> String {
    let mut data = String::from(CALLS);
    let mut body = body.to_owned();
    let mut at = 8192;
    for (i, path) in paths.iter().enumerate() {
        data.push_str(&format!("(data (i32.const {at}) \"{}\")", quoted(path)));
        body = body.replace(&format!("{{{i}}}"), &format!("(i32.const {at}) (i32.const {})", path.len()));
        at += path.len();
    }
    wasi(&data, &body)
}

#[test]
fn sym_32_dots_that_lead_above_the_top() {
    let all: [&[u8]; 10] = [
        b"..",
        b"../",
        b"../etc/passwd",
        b"a/../../x",
        b"./../x",
        b"a/../a/../../x",
        b"../../../../../../../../proc/self/environ",
        b"a/..//../x",
        b"a/./.././..",
        b"....//../..",
    ];
    for path in all {
        // Every call that takes a path, on the folder that holds `a/b`.
        let body = "
            (call $is (call $stat {0}) (i32.const ERR))
            (call $is (call $open {0}) (i32.const ERR))
            (call $is (call $make {0}) (i32.const ERR))
            (call $is (call $path_create_directory (i32.const 3) {0}) (i32.const ERR))
            (call $is (call $path_unlink_file (i32.const 3) {0}) (i32.const ERR))
            (call $is (call $path_remove_directory (i32.const 3) {0}) (i32.const ERR))
            (call $is (call $path_rename (i32.const 3) {1} (i32.const 3) {0}) (i32.const ERR))
            (call $is (call $path_rename (i32.const 3) {0} (i32.const 3) {1}) (i32.const ERR))
            (call $is (call $path_link (i32.const 3) (i32.const 0) {1} (i32.const 3) {0}) (i32.const ERR))
            (call $is (call $path_link (i32.const 3) (i32.const 0) {0} (i32.const 3) {1}) (i32.const ERR))
            (call $is (call $link {1} {0}) (i32.const ERR))
            (call $is (call $path_readlink (i32.const 3) {0} (i32.const 4096) (i32.const 9) (i32.const 4200)) (i32.const ERR))
            (call $is (call $path_filestat_set_times (i32.const 3) (i32.const 1) {0} (i64.const 0) (i64.const 0) (i32.const 5)) (i32.const ERR))";
        // `....` is a name like any other, and not there.
        let errno = if path.starts_with(b"....") { "44" } else { "63" };
        guest(&paths(&[path, b"a/b"], &body.replace("ERR", errno))).inputs(&[("a/b", b"")]).ends(exited(0));
    }
}

#[test]
fn sym_32_paths_from_the_root_of_the_host() {
    for path in [&b"/"[..], b"/etc/passwd", b"//x", b"/proc/self/mem", b"/."] {
        let body = "(call $is (call $stat {0}) (i32.const 63)) (call $is (call $make {0}) (i32.const 63))";
        guest(&paths(&[path], body)).ends(exited(0));
    }
}

#[test]
fn sym_32_paths_that_are_no_text() {
    for (path, errno) in [
        (&b""[..], 44),
        (b"\0", 28),
        (b"a\0b", 28),
        (b"a\0/../../x", 28),
        (b"a/\0", 28),
        (b"\xff", 25),
        (b"a/\xc3", 25),
        (b"\xc0\xaf", 25),
        (b"\xed\xa0\x80", 25),
        (b"\xf4\x90\x80\x80", 25),
    ] {
        let body = format!(
            "(call $is (call $stat {{0}}) (i32.const {errno})) (call $is (call $make {{0}}) (i32.const {errno}))
             (call $is (call $link {{0}} {{1}}) (i32.const {errno})) (call $is (call $link {{1}} {{0}}) (i32.const {errno}))
             (call $is (call $path_create_directory (i32.const 3) {{0}}) (i32.const {errno}))"
        );
        let report = guest(&paths(&[path, b"n"], &body)).ends(exited(0));
        assert_eq!(report.outputs, (0, 0));
    }
}

#[test]
fn sym_32_names_that_look_like_something_else() {
    // All of these are names like any other: what they mean elsewhere they mean not here.
    let names: [&[u8]; 8] = [b"C:", b"a\\..\\b", b"~", b"...", b"-rf", b"\n", b"\x1b[2J", "\u{202e}txt".as_bytes()];
    let body: String = (0..names.len()).map(|i| format!("(call $ok (call $make {{{i}}}))")).collect();
    let report = guest(&paths(&names, &body)).ends(exited(0));
    assert_eq!(report.outputs, (8, 0));
}

#[test]
fn sym_33_names_and_paths_of_all_lengths() {
    let name = |len: usize| vec![b'n'; len];
    let path = |len: usize| b"./".repeat(len / 2).into_iter().chain(vec![b'p'; len % 2 + 2]).collect::<Vec<u8>>();
    let (fits, not, long, longer) = (name(255), name(256), path(1022), path(1023));
    assert_eq!((long.len(), longer.len()), (1024, 1025));
    let body = "(call $ok (call $make {0})) (call $is (call $make {1}) (i32.const 37)) (call $is (call $stat {1}) (i32.const 37))
        (call $ok (call $make {2})) (call $is (call $make {3}) (i32.const 37))
        (call $is (call $link {3} {0}) (i32.const 37)) (call $is (call $path_create_directory (i32.const 3) {1}) (i32.const 37))
        (call $is (call $path_rename (i32.const 3) {0} (i32.const 3) {1}) (i32.const 37))";
    guest(&paths(&[&fits, &not, &long, &longer], body)).ends(exited(0));
}

#[test]
fn w3_a_path_as_long_as_memory() {
    // It is paid for, refused, and never copied: 64 MiB of guest stay 64 MiB of host.
    let body = "(drop (memory.grow (i32.const 1022)))
        (memory.fill (i32.const 65536) (i32.const 97) (i32.const 67043328))
        (call $is (call $stat (i32.const 65536) (i32.const 67043328)) (i32.const 37))
        (call $is (call $link (i32.const 65536) (i32.const 67043328) (i32.const 65536) (i32.const 1)) (i32.const 37))
        (call $is (call $stat (i32.const 65536) (i32.const -1)) (i32.const 21))";
    guest(&paths(&[], body))
        .edit(|unit| unit.limits.memory_bytes = 64 << 20)
        .fuel(1 << 30)
        .slack(16 << 20)
        .ends(exited(0));
}

#[test]
fn sym_32_symbolic_links_in_circles() {
    let body = "
        (call $ok (call $link {0} {0})) (call $is (call $stat {0}) (i32.const 32)) (call $is (call $open {0}) (i32.const 32))
        (call $ok (call $link {1} {2})) (call $ok (call $link {2} {1})) (call $is (call $stat {1}) (i32.const 32))
        (call $ok (call $link {3} {4})) (call $is (call $stat {4}) (i32.const 32)) (call $is (call $make {4}) (i32.const 32))
        ;; without following it is there all the same
        (call $ok (call $path_filestat_get (i32.const 3) (i32.const 0) {0} (i32.const 4096)))
        (call $ok (call $path_unlink_file (i32.const 3) {0}))";
    guest(&paths(&[b"self", b"one", b"two", b"loop/x", b"loop"], body)).ends(exited(0));
}

#[test]
fn sym_32_symbolic_links_in_a_chain() {
    // l0 is a file, l1 leads to it, and so on: 40 hops are followed, 41 are not.
    let names: Vec<String> = (0..=41).map(|i| format!("l{i:02}")).collect();
    let mut body = String::from("(call $ok (call $make {0}))");
    for i in 1..=41 {
        body.push_str(&format!("(call $ok (call $link {{{}}} {{{i}}}))", i - 1));
    }
    body.push_str("(call $ok (call $stat {40})) (call $is (call $stat {41}) (i32.const 32))");
    let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
    guest(&paths(&names, &body)).ends(exited(0));
}

#[test]
fn sym_32_symbolic_links_that_multiply_a_path() {
    // Each link names the one before it many times over: the hops end it, and the names
    // still to go stay few.
    let target = [b"l/".repeat(500), b"x".to_vec()].concat();
    let body = "(call $ok (call $link {0} {1})) (call $is (call $stat {1}) (i32.const 32))
        (loop (drop (call $stat {0})) (br 0))";
    guest(&paths(&[&target, b"l"], body)).slack(16 << 20).ends(symbolon_executor::Outcome::OutOfFuel);
}

#[test]
fn sym_32_symbolic_links_that_lead_out() {
    let body = "
        ;; a link that leads up may be made where nothing follows it
        (call $ok (call $link {0} {1})) (call $is (call $stat {1}) (i32.const 63)) (call $is (call $make {1}) (i32.const 63))
        (call $ok (call $path_create_directory (i32.const 3) {2}))
        (call $ok (call $link {3} {4})) (call $ok (call $stat {4}))
        (call $ok (call $link {5} {6})) (call $is (call $stat {6}) (i32.const 63))
        ;; one that starts at a root may not be made at all
        (call $is (call $link {7} {8}) (i32.const 63))
        ;; and what lies behind one that leads up cannot be reached through it
        (call $is (call $stat {9}) (i32.const 63)) (call $is (call $path_unlink_file (i32.const 3) {9}) (i32.const 63))";
    let all: [&[u8]; 10] =
        [b"../secret", b"up", b"d", b"../d", b"d/ok", b"../../d", b"d/out", b"/etc/passwd", b"abs", b"up/x"];
    guest(&paths(&all, body)).ends(exited(0));
}

#[test]
fn sym_32_a_folder_opened_below_is_a_top_of_its_own() {
    // From a descriptor of `d` nothing above `d` can be reached, whatever it may do in `d`.
    let body = "
        (call $ok (call $path_create_directory (i32.const 3) {0}))
        (call $ok (call $path_open (i32.const 3) (i32.const 0) {0} (i32.const 2) (i64.const 0x3fffe00) (i64.const 0x1fffffff) (i32.const 0) (i32.const 4300)))
        (local.set $fd (i32.load (i32.const 4300)))
        (call $is (call $path_filestat_get (local.get $fd) (i32.const 1) {1} (i32.const 4096)) (i32.const 63))
        (call $is (call $path_open (local.get $fd) (i32.const 0) {2} (i32.const 2) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 4300)) (i32.const 63))
        ;; moved elsewhere it still is
        (call $ok (call $path_create_directory (i32.const 3) {3}))
        (call $ok (call $path_rename (i32.const 3) {0} (i32.const 3) {4}))
        (call $is (call $path_filestat_get (local.get $fd) (i32.const 1) {1} (i32.const 4096)) (i32.const 63))
        (call $ok (call $path_filestat_get (local.get $fd) (i32.const 1) {5} (i32.const 4096)))
        ;; removed, it takes nothing new
        (call $ok (call $path_remove_directory (i32.const 3) {4}))
        (call $is (call $path_create_directory (local.get $fd) {6}) (i32.const 44))";
    guest(&paths(&[b"d", b"../e", b"..", b"e", b"e/d", b".", b"x"], body)).ends(exited(0));
}

#[test]
fn sym_32_a_folder_cannot_be_moved_into_itself() {
    let body = "
        (call $ok (call $path_create_directory (i32.const 3) {0})) (call $ok (call $path_create_directory (i32.const 3) {1}))
        (call $is (call $path_rename (i32.const 3) {0} (i32.const 3) {2}) (i32.const 28))
        (call $is (call $path_rename (i32.const 3) {0} (i32.const 3) {1}) (i32.const 28))
        (call $ok (call $path_rename (i32.const 3) {0} (i32.const 3) {0}))
        (call $is (call $path_rename (i32.const 3) {3} (i32.const 3) {4}) (i32.const 28))
        (call $is (call $path_remove_directory (i32.const 3) {3}) (i32.const 28))
        (call $is (call $path_remove_directory (i32.const 3) {5}) (i32.const 28))";
    guest(&paths(&[b"a", b"a/b", b"a/b/c", b".", b"x", b"a/."], body)).ends(exited(0));
}

#[test]
fn sym_33_inputs_cannot_be_changed_moved_or_replaced() {
    let body = "
        (call $is (call $open {0}) (i32.const 69))
        (call $is (call $path_unlink_file (i32.const 3) {0}) (i32.const 69))
        (call $is (call $path_rename (i32.const 3) {0} (i32.const 3) {1}) (i32.const 69))
        (call $ok (call $make {1}))
        (call $is (call $path_rename (i32.const 3) {1} (i32.const 3) {0}) (i32.const 69))
        (call $is (call $path_link (i32.const 3) (i32.const 0) {0} (i32.const 3) {2}) (i32.const 63))
        (call $is (call $path_rename (i32.const 3) {3} (i32.const 3) {2}) (i32.const 69))
        (call $is (call $path_remove_directory (i32.const 3) {3}) (i32.const 55))
        (call $is (call $path_filestat_set_times (i32.const 3) (i32.const 0) {0} (i64.const 1) (i64.const 1) (i32.const 5)) (i32.const 69))
        ;; through a link neither
        (call $ok (call $link {0} {2})) (call $is (call $open {2}) (i32.const 69))";
    let report = guest(&paths(&[b"in/a", b"mine", b"link", b"in"], body)).inputs(&[("in/a", b"input")]).ends(exited(0));
    assert_eq!(report.outputs, (1, 0));
}
