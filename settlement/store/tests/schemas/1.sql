-- A store as schema 1 left it. Never edited: it stands for files that are out there.
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

INSERT INTO records (kind, id, bytes) VALUES ('payee-channel', x'01', x'0a0b'), ('order', x'02', x'0c');
INSERT INTO vouchers (direction, payer, payee, lane, epoch, cumulative, signature, order_digest, created_at) VALUES
    (0, x'0101010101010101010101010101010101010101', x'0202020202020202020202020202020202020202', zeroblob(32), 3, x'000000000000000000000005', x'01010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101', NULL, 7),
    (1, x'0101010101010101010101010101010101010101', x'0202020202020202020202020202020202020202', zeroblob(32), 3, x'000000000000000000000006', x'02020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202', x'0202020202020202020202020202020202020202020202020202020202020202', 8);
INSERT INTO commits VALUES (x'0101010101010101010101010101010101010101010101010101010101010101', x'0909090909090909090909090909090909090909', x'0101010101010101010101010101010101010101010101010101010101010101', x'01010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101', 8);
PRAGMA user_version = 1;
