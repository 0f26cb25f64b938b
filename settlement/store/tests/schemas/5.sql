-- A store as schema 4 left it. Never edited: it stands for files that are out there.
PRAGMA application_id = 1398361410;
CREATE TABLE records (
    kind TEXT NOT NULL,
    id BLOB NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE vouchers (
    direction INTEGER NOT NULL CHECK (direction IN (0, 1)),
    payer BLOB NOT NULL CHECK (length(payer) = 20),
    payee BLOB NOT NULL CHECK (length(payee) = 20),
    lane BLOB NOT NULL CHECK (length(lane) = 32),
    epoch INTEGER NOT NULL CHECK (epoch BETWEEN 0 AND 16777215),
    cumulative BLOB NOT NULL CHECK (length(cumulative) = 12),
    signature BLOB NOT NULL CHECK (length(signature) = 64),
    order_digest BLOB CHECK (length(order_digest) = 32),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (direction, payer, payee, lane, epoch, cumulative)
) STRICT, WITHOUT ROWID;

-- Totals are 12 big-endian bytes, so the order of blobs is that of numbers.
CREATE TRIGGER voucher_total_never_falls BEFORE INSERT ON vouchers
WHEN EXISTS (
    SELECT 1 FROM vouchers v
    WHERE v.direction = NEW.direction AND v.payer = NEW.payer AND v.payee = NEW.payee
      AND v.lane = NEW.lane AND v.epoch = NEW.epoch AND v.cumulative >= NEW.cumulative
)
BEGIN SELECT RAISE(ABORT, 'voucher total must rise'); END;

CREATE TRIGGER voucher_never_changes BEFORE UPDATE ON vouchers
BEGIN SELECT RAISE(ABORT, 'vouchers do not change'); END;

CREATE TRIGGER best_voucher_stays BEFORE DELETE ON vouchers
WHEN NOT EXISTS (
    SELECT 1 FROM vouchers v
    WHERE v.direction = OLD.direction AND v.payer = OLD.payer AND v.payee = OLD.payee
      AND v.lane = OLD.lane AND v.epoch = OLD.epoch AND v.cumulative > OLD.cumulative
)
BEGIN SELECT RAISE(ABORT, 'the best voucher of an epoch stays'); END;

CREATE TABLE commits (
    order_digest BLOB NOT NULL CHECK (length(order_digest) = 32),
    provider BLOB NOT NULL CHECK (length(provider) = 20),
    seal BLOB NOT NULL CHECK (length(seal) = 32),
    signature BLOB NOT NULL CHECK (length(signature) = 64),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (order_digest, provider)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER commit_never_changes BEFORE UPDATE ON commits
BEGIN SELECT RAISE(ABORT, 'one commit for an order and a provider'); END;
CREATE TABLE tx_intents (
    id BLOB PRIMARY KEY CHECK (length(id) = 32),
    chain_id INTEGER NOT NULL,
    sender BLOB NOT NULL CHECK (length(sender) = 20),
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),
    nonce INTEGER,
    tx_hash BLOB CHECK (length(tx_hash) = 32),
    block INTEGER,
    gas_used INTEGER,
    fee_wei TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Two transactions in flight never share a nonce.
CREATE UNIQUE INDEX tx_nonce ON tx_intents (chain_id, sender, nonce) WHERE state = 1;
CREATE INDEX tx_open ON tx_intents (state, created_at) WHERE state < 2;

CREATE TRIGGER tx_outcome_is_final BEFORE UPDATE ON tx_intents WHEN OLD.state >= 2
BEGIN SELECT RAISE(ABORT, 'the outcome of a transaction is final'); END;

CREATE TABLE tx_attempts (
    id BLOB NOT NULL REFERENCES tx_intents (id),
    number INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    nonce INTEGER NOT NULL,
    raw BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (id, number)
) STRICT, WITHOUT ROWID;
-- What a row held when it was written; SQLite does not notice a flipped bit
-- inside a value. Nothing in rows that are older than this column.
ALTER TABLE records ADD COLUMN sum INTEGER;
ALTER TABLE vouchers ADD COLUMN sum INTEGER;

-- A restored store knows less than its keys have signed.
CREATE TABLE restores (
    generation INTEGER PRIMARY KEY CHECK (generation > 0),
    restored_at INTEGER NOT NULL
) STRICT;

CREATE TRIGGER restore_never_changes BEFORE UPDATE ON restores
BEGIN SELECT RAISE(ABORT, 'a restore is never undone'); END;

CREATE TRIGGER restore_stays BEFORE DELETE ON restores
BEGIN SELECT RAISE(ABORT, 'a restore is never undone'); END;

-- Epochs in which a restored store may promise again, and from which total on.
CREATE TABLE cleared_epochs (
    generation INTEGER NOT NULL REFERENCES restores (generation),
    payer BLOB NOT NULL CHECK (length(payer) = 20),
    payee BLOB NOT NULL CHECK (length(payee) = 20),
    lane BLOB NOT NULL CHECK (length(lane) = 32),
    epoch INTEGER NOT NULL CHECK (epoch BETWEEN 0 AND 16777215),
    floor BLOB NOT NULL CHECK (length(floor) = 12),
    cleared_at INTEGER NOT NULL,
    PRIMARY KEY (generation, payer, payee, lane, epoch)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER cleared_epoch_never_changes BEFORE UPDATE ON cleared_epochs
BEGIN SELECT RAISE(ABORT, 'an epoch is cleared once'); END;

CREATE TRIGGER restored_payer_promises_only_where_cleared BEFORE INSERT ON vouchers
WHEN NEW.direction = 0 AND EXISTS (SELECT 1 FROM restores) AND NOT EXISTS (
    SELECT 1 FROM cleared_epochs c
    WHERE c.generation = (SELECT max(generation) FROM restores)
      AND c.payer = NEW.payer AND c.payee = NEW.payee AND c.lane = NEW.lane AND c.epoch = NEW.epoch
      AND c.floor <= NEW.cumulative
)
BEGIN SELECT RAISE(ABORT, 'a restored payer promises only where it was cleared'); END;

INSERT INTO records (kind, id, bytes) VALUES ('payee-channel', x'01', x'0a0b'), ('order', x'02', x'0c');
INSERT INTO vouchers (direction, payer, payee, lane, epoch, cumulative, signature, order_digest, created_at) VALUES
    (0, x'0101010101010101010101010101010101010101', x'0202020202020202020202020202020202020202', zeroblob(32), 3, x'000000000000000000000005', x'01010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101', NULL, 7),
    (1, x'0101010101010101010101010101010101010101', x'0202020202020202020202020202020202020202', zeroblob(32), 3, x'000000000000000000000006', x'02020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202', x'0202020202020202020202020202020202020202020202020202020202020202', 8);
INSERT INTO commits VALUES (x'0101010101010101010101010101010101010101010101010101010101010101', x'0909090909090909090909090909090909090909', x'0101010101010101010101010101010101010101010101010101010101010101', x'01010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101', 8);

INSERT INTO tx_intents VALUES
    (x'0101010101010101010101010101010101010101010101010101010101010101', 31337, x'0404040404040404040404040404040404040404', 'claim', x'01', 1, 3, NULL, NULL, NULL, NULL, 1, 20),
    (x'0202020202020202020202020202020202020202020202020202020202020202', 31337, x'0404040404040404040404040404040404040404', 'claim', x'02', 2, 2, x'0505050505050505050505050505050505050505050505050505050505050505', 5, 21000, '7', 1, 20);
INSERT INTO tx_attempts VALUES (x'0101010101010101010101010101010101010101010101010101010101010101', 0, x'0606060606060606060606060606060606060606060606060606060606060606', 3, x'010101', 20), (x'0202020202020202020202020202020202020202020202020202020202020202', 0, x'0505050505050505050505050505050505050505050505050505050505050505', 2, x'020202', 20);

INSERT INTO restores VALUES (1, 40);
INSERT INTO cleared_epochs VALUES (1, x'0101010101010101010101010101010101010101', x'0202020202020202020202020202020202020202', zeroblob(32), 3, x'000000000000000000000009', 41);

-- What an epoch is worth: one row, raised in place. A voucher costs one look at its own row and no other.
CREATE TABLE best_vouchers (
    direction INTEGER NOT NULL CHECK (direction IN (0, 1)),
    payer BLOB NOT NULL CHECK (length(payer) = 20),
    payee BLOB NOT NULL CHECK (length(payee) = 20),
    lane BLOB NOT NULL CHECK (length(lane) = 32),
    epoch INTEGER NOT NULL CHECK (epoch BETWEEN 0 AND 16777215),
    cumulative BLOB NOT NULL CHECK (length(cumulative) = 12),
    signature BLOB NOT NULL CHECK (length(signature) = 64),
    order_digest BLOB CHECK (length(order_digest) = 32),
    created_at INTEGER NOT NULL,
    sum INTEGER,
    PRIMARY KEY (direction, payer, payee, lane, epoch)
) STRICT, WITHOUT ROWID;

-- SQLite takes the other columns from the row that has the maximum.
INSERT INTO best_vouchers
    SELECT direction, payer, payee, lane, epoch, max(cumulative), signature, order_digest, created_at, sum
    FROM vouchers GROUP BY direction, payer, payee, lane, epoch;

-- From here on `vouchers` tells which voucher paid which order. What is owed and promised stands above.
DROP TRIGGER voucher_total_never_falls;
DROP TRIGGER best_voucher_stays;
DROP TRIGGER restored_payer_promises_only_where_cleared;

CREATE TRIGGER voucher_is_not_replaced BEFORE INSERT ON vouchers
WHEN EXISTS (
    SELECT 1 FROM vouchers v
    WHERE v.direction = NEW.direction AND v.payer = NEW.payer AND v.payee = NEW.payee
      AND v.lane = NEW.lane AND v.epoch = NEW.epoch AND v.cumulative = NEW.cumulative
)
BEGIN SELECT RAISE(ABORT, 'vouchers do not change'); END;

-- One row an epoch, and none in place of another.
CREATE TRIGGER best_voucher_is_raised_not_replaced BEFORE INSERT ON best_vouchers
WHEN EXISTS (
    SELECT 1 FROM best_vouchers b
    WHERE b.direction = NEW.direction AND b.payer = NEW.payer AND b.payee = NEW.payee
      AND b.lane = NEW.lane AND b.epoch = NEW.epoch
)
BEGIN SELECT RAISE(ABORT, 'the best voucher of an epoch is raised, not replaced'); END;

CREATE TRIGGER best_voucher_stays_in_its_epoch
BEFORE UPDATE OF direction, payer, payee, lane, epoch ON best_vouchers
BEGIN SELECT RAISE(ABORT, 'a voucher stays in its epoch'); END;

CREATE TRIGGER best_voucher_stays BEFORE DELETE ON best_vouchers
BEGIN SELECT RAISE(ABORT, 'the best voucher of an epoch stays'); END;

CREATE TRIGGER restored_payer_promises_only_where_cleared BEFORE INSERT ON best_vouchers
WHEN NEW.direction = 0 AND EXISTS (SELECT 1 FROM restores) AND NOT EXISTS (
    SELECT 1 FROM cleared_epochs c
    WHERE c.generation = (SELECT max(generation) FROM restores)
      AND c.payer = NEW.payer AND c.payee = NEW.payee AND c.lane = NEW.lane AND c.epoch = NEW.epoch
      AND c.floor <= NEW.cumulative
)
BEGIN SELECT RAISE(ABORT, 'a restored payer promises only where it was cleared'); END;

-- Both rules in one trigger: each costs every voucher. Afterwards, for before it the row would be sought twice.
CREATE TRIGGER best_voucher_only_rises AFTER UPDATE ON best_vouchers
WHEN NEW.cumulative <= OLD.cumulative OR NEW.direction = 0 AND EXISTS (SELECT 1 FROM restores) AND NOT EXISTS (
    SELECT 1 FROM cleared_epochs c
    WHERE c.generation = (SELECT max(generation) FROM restores)
      AND c.payer = NEW.payer AND c.payee = NEW.payee AND c.lane = NEW.lane AND c.epoch = NEW.epoch
      AND c.floor <= NEW.cumulative
)
BEGIN SELECT RAISE(ABORT, 'voucher total must rise, in a restored store from where it was cleared'); END;

-- The best voucher of an epoch shows that every order up to its total is paid. Lower ones show nothing more, and a
-- row for each order took up as much time as the signature.
DROP TABLE vouchers;

-- Numbered rows: one is changed where it lies.
CREATE TABLE numbered (
    id INTEGER PRIMARY KEY,
    direction INTEGER NOT NULL CHECK (direction IN (0, 1)),
    payer BLOB NOT NULL CHECK (length(payer) = 20),
    payee BLOB NOT NULL CHECK (length(payee) = 20),
    lane BLOB NOT NULL CHECK (length(lane) = 32),
    epoch INTEGER NOT NULL CHECK (epoch BETWEEN 0 AND 16777215),
    cumulative BLOB NOT NULL CHECK (length(cumulative) = 12),
    signature BLOB NOT NULL CHECK (length(signature) = 64),
    order_digest BLOB CHECK (length(order_digest) = 32),
    created_at INTEGER NOT NULL,
    sum INTEGER,
    UNIQUE (direction, payer, payee, lane, epoch)
) STRICT;

INSERT INTO numbered
        (direction, payer, payee, lane, epoch, cumulative, signature, order_digest, created_at, sum)
    SELECT direction, payer, payee, lane, epoch, cumulative, signature, order_digest, created_at, sum
    FROM best_vouchers ORDER BY direction, payer, payee, lane, epoch;
DROP TABLE best_vouchers;
ALTER TABLE numbered RENAME TO best_vouchers;

-- The guards of before, and a row keeps its number.
CREATE TRIGGER best_voucher_is_raised_not_replaced BEFORE INSERT ON best_vouchers
WHEN EXISTS (
    SELECT 1 FROM best_vouchers b
    WHERE b.direction = NEW.direction AND b.payer = NEW.payer AND b.payee = NEW.payee
      AND b.lane = NEW.lane AND b.epoch = NEW.epoch
) OR EXISTS (SELECT 1 FROM best_vouchers b WHERE b.id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the best voucher of an epoch is raised, not replaced'); END;

CREATE TRIGGER best_voucher_stays_in_its_epoch
BEFORE UPDATE OF id, direction, payer, payee, lane, epoch ON best_vouchers
BEGIN SELECT RAISE(ABORT, 'a voucher stays in its epoch'); END;

CREATE TRIGGER best_voucher_stays BEFORE DELETE ON best_vouchers
BEGIN SELECT RAISE(ABORT, 'the best voucher of an epoch stays'); END;

CREATE TRIGGER restored_payer_promises_only_where_cleared BEFORE INSERT ON best_vouchers
WHEN NEW.direction = 0 AND EXISTS (SELECT 1 FROM restores) AND NOT EXISTS (
    SELECT 1 FROM cleared_epochs c
    WHERE c.generation = (SELECT max(generation) FROM restores)
      AND c.payer = NEW.payer AND c.payee = NEW.payee AND c.lane = NEW.lane AND c.epoch = NEW.epoch
      AND c.floor <= NEW.cumulative
)
BEGIN SELECT RAISE(ABORT, 'a restored payer promises only where it was cleared'); END;

-- Both rules in one trigger: each costs every voucher. Afterwards, for before it the row would be sought twice.
CREATE TRIGGER best_voucher_only_rises AFTER UPDATE ON best_vouchers
WHEN NEW.cumulative <= OLD.cumulative OR NEW.direction = 0 AND EXISTS (SELECT 1 FROM restores) AND NOT EXISTS (
    SELECT 1 FROM cleared_epochs c
    WHERE c.generation = (SELECT max(generation) FROM restores)
      AND c.payer = NEW.payer AND c.payee = NEW.payee AND c.lane = NEW.lane AND c.epoch = NEW.epoch
      AND c.floor <= NEW.cumulative
)
BEGIN SELECT RAISE(ABORT, 'voucher total must rise, in a restored store from where it was cleared'); END;

PRAGMA user_version = 5;
