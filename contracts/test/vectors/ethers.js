// The committed digests and signatures of every signed struct, against somebody else's EIP-712: ethers.
"use strict";
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const { Signature, SigningKey, TypedDataEncoder, computeAddress, recoverAddress } = require("ethers");

const file = path.join(__dirname, "../../../tests/vectors/signed_structs.json");
const { domain, secret, signer, structs } = JSON.parse(fs.readFileSync(file, "utf8"));
const key = new SigningKey(secret);
assert.strictEqual(computeAddress(key).toLowerCase(), signer.toLowerCase(), "signer");

let checked = 0;
for (const [name, { members, cases }] of Object.entries(structs)) {
    for (const [i, { message, digest, signature }] of cases.entries()) {
        const what = `${name}, case ${i}`;
        assert.strictEqual(TypedDataEncoder.hash(domain, { [name]: members }, message), digest, `digest of ${what}`);
        assert.strictEqual(key.sign(digest).compactSerialized, signature, `signature of ${what}`);
        assert.strictEqual(recoverAddress(digest, Signature.from(signature)).toLowerCase(), signer.toLowerCase(), what);
        checked += 1;
    }
}
assert(checked >= 40, `only ${checked} cases`);
console.log(`ethers agrees with all ${checked} digests and signatures of ${Object.keys(structs).length} structs`);
