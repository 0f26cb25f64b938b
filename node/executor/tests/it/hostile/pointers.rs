//! Guests that point where nothing is: every pointer of every call, at the edge of
//! memory, past it, and over each other.

use super::guest;
use crate::guest::{exited, wasi, wasi_unstable};

/// Every call of the interface that takes a pointer, with arguments that would do: a
/// number, `l` behind it for 64 bits, or `@place:size` for a pointer.
///
/// There are a file `f` open as 4, a link `l` to it, a buffer list at 16 and a
/// subscription at 2048.
const CALLS: [(&str, &str); 34] = [
    ("args_get", "@1024:4 @1100:6"),
    ("args_sizes_get", "@1024:4 @1032:4"),
    ("environ_get", "@1024:4 @1100:4"),
    ("environ_sizes_get", "@1024:4 @1032:4"),
    ("clock_res_get", "0 @1024:8"),
    ("clock_time_get", "0 0l @1024:8"),
    ("fd_fdstat_get", "4 @1024:24"),
    ("fd_filestat_get", "4 @1024:STAT"),
    ("fd_pread", "4 @16:8 1 0l @1024:4"),
    ("fd_prestat_get", "3 @1024:8"),
    ("fd_prestat_dir_name", "3 @1024:1 1"),
    ("fd_pwrite", "4 @16:8 1 0l @1024:4"),
    ("fd_read", "4 @16:8 1 @1024:4"),
    ("fd_readdir", "3 @1024:100 100 0l @1200:4"),
    ("fd_seek", "4 0l 1 @1024:8"),
    ("fd_tell", "4 @1024:8"),
    ("fd_write", "4 @16:8 1 @1024:4"),
    ("path_create_directory", "3 @0:1 1"),
    ("path_filestat_get", "3 0 @0:1 1 @1024:STAT"),
    ("path_filestat_set_times", "3 0 @0:1 1 0l 0l 0"),
    ("path_link", "3 0 @0:1 1 3 @9:1 1"),
    ("path_open", "3 0 @0:1 1 0 2l 0l 0 @1024:4"),
    ("path_readlink", "3 @8:1 1 @1100:1 100 @1024:4"),
    ("path_remove_directory", "3 @0:1 1"),
    ("path_rename", "3 @0:1 1 3 @9:1 1"),
    ("path_symlink", "@0:1 1 3 @9:1 1"),
    ("path_unlink_file", "3 @0:1 1"),
    ("poll_oneoff", "@2048:SUB @3000:32 1 @1024:4"),
    ("random_get", "@1024:8 8"),
    ("sock_accept", "4 0 @1024:4"),
    ("sock_recv", "4 @16:8 1 0 @1024:4 @1028:2"),
    ("sock_send", "4 @16:8 1 0 @1024:4"),
    ("proc_raise", "@0:1"),
    ("proc_exit", "@0:1"),
];

/// Calls in which nothing is a pointer.
const WITHOUT: [&str; 14] = [
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_renumber",
    "fd_sync",
    "proc_exit",
    "proc_raise",
    "sched_yield",
    "sock_shutdown",
];

const MEMORY: i64 = 131_072;

const DATA: &str = r#"(data (i32.const 0) "f") (data (i32.const 8) "l") (data (i32.const 9) "n")
    (data (i32.const 16) "\40\00\00\00\08\00\00\00") (data (i32.const 64) "contents")"#;

const PREPARE: &str = "
    (call $ok (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)
      (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 1000)))
    (call $ok (call $fd_write (i32.const 4) (i32.const 16) (i32.const 1) (i32.const 1000)))
    (call $ok (call $fd_seek (i32.const 4) (i64.const 0) (i32.const SET) (i32.const 1000)))
    (call $ok (call $path_symlink (i32.const 0) (i32.const 1) (i32.const 3) (i32.const 8) (i32.const 1)))";

/// A call in text, with the pointer of this index replaced.
fn call(name: &str, arguments: &str, replaced: Option<(usize, i64)>) -> String {
    let mut pointers = 0;
    let mut text = format!("(call ${name}");
    for word in arguments.split(' ') {
        let argument = if let Some(place) = word.strip_prefix('@') {
            let place: i64 = place.split(':').next().unwrap().parse().unwrap();
            let value = match replaced {
                Some((at, value)) if at == pointers => value,
                _ => place,
            };
            pointers += 1;
            format!("(i32.const {value})")
        } else if let Some(long) = word.strip_suffix('l') {
            format!("(i64.const {long})")
        } else {
            format!("(i32.const {word})")
        };
        text.push_str(&argument);
    }
    text.push(')');
    text
}

#[test]
fn sym_32_every_pointer_of_every_call_is_checked_in_both_interfaces() {
    for (interface, stat, subscription, set) in [("wasi_snapshot_preview1", 64, 48, 0), ("wasi_unstable", 56, 56, 2)] {
        let mut body = PREPARE.replace("SET", &set.to_string());
        let mut checks = 0;
        for (name, arguments) in CALLS {
            if WITHOUT.contains(&name) || (interface == "wasi_unstable" && name == "sock_accept") {
                continue;
            }
            let arguments = arguments.replace("STAT", &stat.to_string()).replace("SUB", &subscription.to_string());
            let sizes: Vec<i64> = arguments
                .split(' ')
                .filter_map(|word| word.strip_prefix('@')?.split(':').nth(1)?.parse().ok())
                .collect();
            // No descriptor is a socket: that is said before anything is looked at.
            let errno = if name.starts_with("sock_") { 57 } else { 21 };
            for (pointer, size) in sizes.into_iter().enumerate() {
                for value in [-1, -size, MEMORY, MEMORY - size + 1, i64::from(i32::MIN)] {
                    let call = call(name, &arguments, Some((pointer, value)));
                    body.push_str(&format!("(call $is {call} (i32.const {errno}))\n"));
                    checks += 1;
                }
            }
        }
        assert!(checks > 200, "{checks}");
        // Nothing was opened, made, moved or written by any of them.
        body.push_str(
            "(call $ok (call $fd_tell (i32.const 4) (i32.const 1024))) (call $is (i32.load (i32.const 1024)) (i32.const 0))
             (call $ok (call $fd_filestat_get (i32.const 4) (i32.const 1024)))
             (call $ok (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
               (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 1024)))
             (call $is (i32.load (i32.const 1024)) (i32.const 5))",
        );
        let text = if interface == "wasi_unstable" { wasi_unstable(DATA, &body) } else { wasi(DATA, &body) };
        let report = guest(&text).edit(|unit| unit.env = vec![("A".into(), "b".into())]).ends(exited(0));
        assert_eq!(report.outputs, (1, 8));
    }
}

#[test]
fn sym_32_the_table_of_calls_is_whole() {
    let mut names: Vec<&str> = CALLS.iter().map(|(name, _)| *name).chain(WITHOUT).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 46);
    let text = wasi("", "");
    assert!(names.iter().all(|name| text.contains(&format!("\"{name}\""))));
}

#[test]
fn sym_32_every_call_takes_the_arguments_that_would_do() {
    // Else the test above could pass for another reason than a pointer.
    let mut body = PREPARE.replace("SET", "0");
    for (name, arguments) in CALLS {
        let errno = match name {
            "proc_exit" | "proc_raise" => continue,
            "path_create_directory" => 20,
            "path_remove_directory" => 54,
            name if name.starts_with("sock_") => 57,
            _ => 0,
        };
        body.push_str(&format!("(call $is {} (i32.const {errno}))\n", call(name, arguments, None)));
        match name {
            // What was made goes again, so that the next one finds what it expects.
            "path_link" | "path_symlink" => {
                body.push_str("(call $ok (call $path_unlink_file (i32.const 3) (i32.const 9) (i32.const 1)))");
            }
            "path_rename" => body.push_str(
                "(call $ok (call $path_rename (i32.const 3) (i32.const 9) (i32.const 1) (i32.const 3) (i32.const 0) (i32.const 1)))",
            ),
            _ => {}
        }
    }
    guest(&wasi(DATA, &body)).edit(|unit| unit.env = vec![("A".into(), "b".into())]).ends(exited(0));
}

#[test]
fn sym_32_buffers_that_are_not_there() {
    let check = |at: &str, len: &str, errno: u32| {
        let store =
            format!("(i32.store (i32.const 256) (i32.const {at})) (i32.store (i32.const 260) (i32.const {len}))");
        let calls: String = ["fd_read", "fd_write"]
            .iter()
            .map(|name| format!("(call $is (call ${name} (i32.const 4) (i32.const 256) (i32.const 1) (i32.const 1024)) (i32.const {errno}))"))
            .collect();
        let positioned: String = ["fd_pread", "fd_pwrite"]
            .iter()
            .map(|name| format!("(call $is (call ${name} (i32.const 4) (i32.const 256) (i32.const 1) (i64.const 0) (i32.const 1024)) (i32.const {errno}))"))
            .collect();
        format!("{store}{calls}{positioned}")
    };
    let body = [
        PREPARE.replace("SET", "0"),
        check("-1", "1", 21),
        check("0", "-1", 21),
        check("-1", "-1", 21),
        check("131071", "2", 21),
        check("131073", "0", 21),
        // Nothing at the very end is there.
        check("131072", "0", 0),
    ]
    .concat();
    guest(&wasi(DATA, &body)).ends(exited(0));
}

#[test]
fn sym_32_lists_of_buffers_beyond_all_counts() {
    let mut body = PREPARE.replace("SET", "0");
    for count in ["1025", "-1", "0x20000000", "0x20000001", "0x80000000"] {
        for fd in [1, 4] {
            for name in ["fd_read", "fd_write"] {
                body.push_str(&format!(
                    "(call $is (call ${name} (i32.const {fd}) (i32.const 16) (i32.const {count}) (i32.const 1024)) (i32.const 28))"
                ));
            }
        }
    }
    // 1,024 buffers that are each the whole memory: 134 million bytes for an output of
    // one, and every byte that is looked at is paid for.
    body.push_str(
        "(loop (i32.store offset=8196 (i32.shl (local.get $i) (i32.const 3)) (i32.const 131072))
           (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.const 1024))))
         (call $ok (call $fd_write (i32.const 1) (i32.const 8192) (i32.const 1024) (i32.const 1024)))
         (call $is (i32.load (i32.const 1024)) (i32.const 1048568))
         (call $is (call $fd_write (i32.const 1) (i32.const 8192) (i32.const 1024) (i32.const 1024)) (i32.const 51))",
    );
    let report = guest(&wasi(DATA, &body)).ends(exited(0));
    // The file's eight bytes count too.
    assert_eq!(report.stdout.len(), (1 << 20) - 8);
    assert!(report.fuel > (1 << 20) / 8);
}

#[test]
fn sym_32_buffers_whose_sum_overflows() {
    // 1,024 times 16 MiB is more than 32 bits hold.
    let body = "
        (drop (memory.grow (i32.const 254)))
        (loop (i32.store offset=8196 (i32.shl (local.get $i) (i32.const 3)) (i32.const 0x1000000))
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.const 1024))))
        (call $is (call $fd_write (i32.const 1) (i32.const 8192) (i32.const 1024) (i32.const 1024)) (i32.const 28))
        (call $is (call $fd_read (i32.const 0) (i32.const 8192) (i32.const 1024) (i32.const 1024)) (i32.const 28))";
    let report = guest(&wasi(DATA, body)).ends(exited(0));
    assert!(report.stdout.is_empty());
}

#[test]
fn sym_32_results_over_arguments() {
    let body = [
        PREPARE.replace("SET", "0").as_str(),
        // A list whose one buffer is the list, and whose result is the list.
        "(i32.store (i32.const 256) (i32.const 256)) (i32.store (i32.const 260) (i32.const 8))
         (call $ok (call $fd_read (i32.const 4) (i32.const 256) (i32.const 1) (i32.const 256)))
         (call $is (i32.load (i32.const 256)) (i32.const 8))
         (call $is (i32.load8_u (i32.const 260)) (i32.const 101))
         ;; pointers and text of the arguments in one place
         (call $ok (call $args_get (i32.const 512) (i32.const 512)))
         (call $is (i32.load8_u (i32.const 512)) (i32.const 103))
         (call $ok (call $args_sizes_get (i32.const 512) (i32.const 513)))
         (call $is (i32.load8_u (i32.const 513)) (i32.const 6))
         ;; a listing over its own size
         (call $ok (call $fd_readdir (i32.const 3) (i32.const 768) (i32.const 64) (i64.const 0) (i32.const 768)))
         (call $is (i32.load (i32.const 768)) (i32.const 64))
         ;; a path over the description that it asks for
         (i32.store8 (i32.const 900) (i32.const 102))
         (call $ok (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 900) (i32.const 1) (i32.const 900)))
         (call $is (i32.load8_u (i32.const 900)) (i32.const 1))
         ;; a link's target over its name
         (i32.store8 (i32.const 900) (i32.const 108))
         (call $ok (call $path_readlink (i32.const 3) (i32.const 900) (i32.const 1) (i32.const 900) (i32.const 9) (i32.const 904)))
         (call $is (i32.load8_u (i32.const 900)) (i32.const 102))
         ;; randomness over the whole memory, and the clock over that
         (call $ok (call $random_get (i32.const 0) (i32.const 131072)))
         (call $ok (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 131064)))",
    ]
    .concat();
    guest(&wasi(DATA, &body)).ends(exited(0));
}
