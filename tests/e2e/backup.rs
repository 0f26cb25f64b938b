//! `symbolon backup` and `symbolon restore` as a person types them.

use symbolon_store::{Store, StoreError, Write};
use symbolon_tests::{ensure_ok, ensure_refused, party, run, text};

#[test]
fn e2e_sym_24_a_node_is_backed_up_while_it_runs_and_restored_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    let (old, new) = (place.path().join("old"), place.path().join("new"));
    let file = text(&place.path().join("backup"));
    party(&old).unwrap();
    let mut store = Store::open(&old).unwrap();
    store.write(&[Write::put("channel", [1], [2])]).unwrap();
    ensure_ok(&run(&["backup", &file, "--with-keys", "--data", &text(&old)]).unwrap()).unwrap();
    let again = run(&["backup", &file, "--data", &text(&old)]).unwrap();
    ensure_refused(&again, 3, "exists already").unwrap();
    let over = run(&["restore", &file, "--data", &text(&old)]).unwrap();
    ensure_refused(&over, 3, "in use").unwrap();
    drop(store);

    let said = ensure_ok(&run(&["restore", &file, "--data", &text(&new), "--json"]).unwrap()).unwrap();
    assert!(said.contains("key.json"), "{said}");
    let key = |data| {
        let password = text(&old.join("password"));
        ensure_ok(&run(&["key", "address", "--data", data, "--password-file", &password]).unwrap()).unwrap()
    };
    assert_eq!(key(&text(&old)), key(&text(&new)));
    let mut store = Store::open(&new).unwrap();
    assert_eq!(store.view().record("channel", &[1]).unwrap(), Some(vec![2]));
    let epoch = symbolon_store::PayerEpoch {
        payer: symbolon_primitives::Address::repeat_byte(1),
        payee: symbolon_primitives::Address::repeat_byte(2),
        lane: symbolon_primitives::Lane::default(),
        epoch: 0,
    };
    assert!(matches!(store.write(&[Write::Promise(epoch)]), Err(StoreError::Frozen { .. })));

    std::fs::write(&file, "something else").unwrap();
    let other = run(&["restore", &file, "--data", &text(&place.path().join("other"))]).unwrap();
    ensure_refused(&other, 3, "cannot be restored").unwrap();
}
