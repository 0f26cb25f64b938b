//! Folders of this machine: what comes in, what goes back, what stays out.

use crate::guest::{compile, engine, exited, wasi};
use std::fs;
use std::path::Path;
use symbolon_executor::hostdir::{Bounds, ExecReport, ExecRequest, HostDirError, Mapping, exec};
use symbolon_executor::{Cancel, Outcome};

fn request(dirs: &[(&Path, &str)]) -> ExecRequest {
    ExecRequest {
        dirs: dirs
            .iter()
            .map(|(host, guest)| Mapping { host: host.to_path_buf(), guest: (*guest).to_owned() })
            .collect(),
        ..ExecRequest::default()
    }
}

fn run(data: &str, body: &str, request: &ExecRequest) -> Result<ExecReport, HostDirError> {
    exec(engine(), &compile(&wasi(data, body)), request, &Cancel::new())
}

#[test]
fn sym_32_exec_writes_back_what_changed_and_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join("keep"), "same").unwrap();
    fs::write(root.join("edit"), "old text").unwrap();
    fs::write(root.join("gone"), "x").unwrap();
    fs::write(root.join("sub/move"), "moved").unwrap();
    let kept = fs::metadata(root.join("keep")).unwrap().modified().unwrap();
    let data = r#"(data (i32.const 0) "edit") (data (i32.const 8) "gone") (data (i32.const 16) "sub/move")
        (data (i32.const 32) "sub") (data (i32.const 40) "new/there") (data (i32.const 64) "link")
        (data (i32.const 80) "\60\00\00\00\03\00\00\00") (data (i32.const 96) "NEW")"#;
    let body = "
        (call $ok (call $path_open (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 4) (i32.const 0) (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 1000)))
        (call $ok (call $fd_write (i32.const 4) (i32.const 80) (i32.const 1) (i32.const 1004)))
        (call $ok (call $path_unlink_file (i32.const 3) (i32.const 8) (i32.const 4)))
        (call $ok (call $path_create_directory (i32.const 3) (i32.const 40) (i32.const 3)))
        (call $ok (call $path_rename (i32.const 3) (i32.const 16) (i32.const 8) (i32.const 3) (i32.const 40) (i32.const 9)))
        (call $ok (call $path_remove_directory (i32.const 3) (i32.const 32) (i32.const 3)))
        (call $ok (call $path_symlink (i32.const 0) (i32.const 4) (i32.const 3) (i32.const 64) (i32.const 4)))
        (call $proc_exit (i32.const 9))";
    let report = run(data, body, &request(&[(root, "/")])).unwrap();
    assert_eq!(report.execution.outcome, exited(9), "{:?}", String::from_utf8_lossy(&report.execution.stderr));
    assert_eq!(fs::read_to_string(root.join("edit")).unwrap(), "NEW text");
    assert_eq!(fs::read_to_string(root.join("new/there")).unwrap(), "moved");
    assert_eq!(fs::read_to_string(root.join("keep")).unwrap(), "same");
    assert_eq!(fs::metadata(root.join("keep")).unwrap().modified().unwrap(), kept);
    assert!(!root.join("gone").exists() && !root.join("sub").exists());
    assert!(fs::symlink_metadata(root.join("link")).is_err());
    assert_eq!(report.skipped, [root.join("link")]);
    assert_eq!(report.written, [root.join("edit"), root.join("new"), root.join("new/there")]);
    assert_eq!(report.removed, [root.join("sub/move"), root.join("sub"), root.join("gone")]);
}

#[test]
fn sym_32_exec_leaves_everything_alone_when_the_guest_traps() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    let body = "(call $ok (call $path_unlink_file (i32.const 3) (i32.const 0) (i32.const 1))) unreachable";
    let report = run("(data (i32.const 0) \"f\")", body, &request(&[(dir.path(), "/")])).unwrap();
    assert!(matches!(report.execution.outcome, Outcome::Trapped { .. }));
    assert!(dir.path().join("f").exists());
    assert!(report.removed.is_empty());
}

#[cfg(unix)]
#[test]
fn sym_32_exec_follows_no_link_out_of_a_folder() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("a")).unwrap();
    std::os::unix::fs::symlink("../secret", dir.path().join("b")).unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("d")).unwrap();
    fs::write(dir.path().join("in"), "inside").unwrap();
    std::os::unix::fs::symlink("in", dir.path().join("c")).unwrap();
    let data = r#"(data (i32.const 0) "abc") (data (i32.const 8) "d/secret") (data (i32.const 32) "\40\00\00\00\20\00\00\00")"#;
    let open = |at: u32, len: u32| {
        format!(
            "(call $path_open (i32.const 3) (i32.const 1) (i32.const {at}) (i32.const {len}) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 1000))"
        )
    };
    let body = format!(
        "(call $is {} (i32.const 63)) (call $is {} (i32.const 63)) (call $is {} (i32.const 63)) (call $ok {})
         (call $ok (call $fd_read (i32.load (i32.const 1000)) (i32.const 32) (i32.const 1) (i32.const 1004)))
         (call $is (i32.load (i32.const 1004)) (i32.const 6))",
        open(0, 1),
        open(1, 1),
        open(8, 8),
        open(2, 1)
    );
    let report = run(data, &body, &request(&[(dir.path(), "/")])).unwrap();
    assert_eq!(report.execution.outcome, exited(0), "{:?}", String::from_utf8_lossy(&report.execution.stderr));
    assert!(report.written.is_empty() && report.removed.is_empty() && report.skipped.is_empty());
    assert!(dir.path().join("a").exists());
}

#[test]
fn sym_32_exec_maps_several_folders_streams_and_arguments() {
    let one = tempfile::tempdir().unwrap();
    let two = tempfile::tempdir().unwrap();
    fs::write(one.path().join("f"), "1").unwrap();
    let data =
        r#"(data (i32.const 0) "f") (data (i32.const 8) "../f") (data (i32.const 32) "\40\00\00\00\20\00\00\00")"#;
    let body = "
        (call $ok (call $fd_prestat_get (i32.const 4) (i32.const 2000))) (call $is (i32.load (i32.const 2004)) (i32.const 4))
        (call $is (call $fd_prestat_get (i32.const 5) (i32.const 2000)) (i32.const 8))
        (call $ok (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2000)))
        (call $is (call $path_filestat_get (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2000)) (i32.const 44))
        (call $is (call $path_filestat_get (i32.const 4) (i32.const 0) (i32.const 8) (i32.const 4) (i32.const 2000)) (i32.const 63))
        (call $ok (call $path_open (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1) (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 1000)))
        (call $ok (call $fd_read (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 36)))
        (call $ok (call $fd_write (i32.const 5) (i32.const 32) (i32.const 1) (i32.const 1004)))
        (call $ok (call $fd_write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 1004)))
        (i32.store (i32.const 36) (i32.const 1))
        (call $ok (call $fd_read (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 1004)))
        (call $is (i32.load (i32.const 1004)) (i32.const 0))";
    let mut request = request(&[(one.path(), "/"), (two.path(), "/two")]);
    request.stdin = b"typed".to_vec();
    let report = run(data, body, &request).unwrap();
    assert_eq!(report.execution.outcome, exited(0), "{:?}", String::from_utf8_lossy(&report.execution.stderr));
    assert_eq!(report.execution.stdout, b"typed");
    assert_eq!(fs::read(two.path().join("f")).unwrap(), b"typed");
    assert_eq!(fs::read(one.path().join("f")).unwrap(), b"1");
}

#[test]
fn sym_33_exec_reads_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), vec![0; 100]).unwrap();
    fs::write(dir.path().join("b"), vec![0; 100]).unwrap();
    let mut request = request(&[(dir.path(), "/")]);
    request.bounds = Bounds { bytes: 199, entries: 10 };
    assert!(matches!(run("", "", &request), Err(HostDirError::TooMuch { what: "bytes", max: 199, .. })));
    request.bounds = Bounds { bytes: 200, entries: 1 };
    assert!(matches!(run("", "", &request), Err(HostDirError::TooMuch { what: "entries", .. })));
    request.bounds = Bounds { bytes: 200, entries: 2 };
    run("", "", &request).unwrap();
    request.dirs[0].host = dir.path().join("missing");
    assert!(matches!(run("", "", &request), Err(HostDirError::Io { .. })));
}

#[test]
fn sym_32_mappings_are_read_as_host_and_guest() {
    let mapping: Mapping = "a/b::/data".parse().unwrap();
    assert_eq!((mapping.host.as_path(), mapping.guest.as_str()), (Path::new("a/b"), "/data"));
    let same: Mapping = ".".parse().unwrap();
    assert_eq!(same.guest, ".");
    assert!("::x".parse::<Mapping>().is_err());
    assert!("x::".parse::<Mapping>().is_err());
}
