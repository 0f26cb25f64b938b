// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../src/interfaces/IVault.sol";
import {Fixture} from "../helpers/Fixture.sol";

/// @notice Who takes part in an invariant run, what each of them holds, and what must be true of every step.
/// Three payer keys (the last bound to the first's account), three providers and two lanes: eighteen channels that are
/// always alive. A step says which channels it may move (`touched`) and which it releases (`closed`); everything else
/// has to stay where it was.
abstract contract Parties is Fixture {
    uint256 internal constant PAYERS = 3;
    uint256 internal constant PROVIDERS = 3;
    uint256 internal constant LANES = 2;
    uint256 public constant CHANNELS = PAYERS * PROVIDERS * LANES;

    struct Line {
        Actor payer;
        address owner;
        Actor payee;
        bytes32 lane;
    }

    struct State {
        uint96 allocated;
        uint96 claimed;
        uint24 epoch;
        uint40 expiry;
    }

    /// @dev A voucher that its payee keeps.
    struct Held {
        uint256 line;
        uint96 total;
        uint24 epoch;
        bytes row;
    }

    /// @dev A quorum's settlement, ready to be sent, and what each of its rows asks for.
    struct HeldQuorum {
        bytes data;
        uint40 settleBy;
        uint256[] lines;
        uint24[] epochs;
        uint256[] totals;
    }

    Line[] public lines;
    State[CHANNELS] internal last;
    address[] public accounts;
    Actor[] internal providers;
    Held[] internal book;
    HeldQuorum[] internal quorumBook;

    uint256 public deposited;
    uint256 public withdrawn;
    uint256 public donated;
    /// @notice Balances, stakes, open earmarks and burned stake, after the last step.
    uint256 public owed;
    uint256 public steps;
    uint96 internal lastBurned;
    uint256 internal touched;
    uint256 internal closed;
    mapping(uint256 line => mapping(uint24 epoch => uint256)) internal highestSigned;

    /// @notice How often something happened, by name.
    mapping(bytes32 fact => uint256) public seen;

    function setUp() public virtual override {
        super.setUp();
        bytes32[LANES] memory lanes = [lane(address(0), 0, 1), lane(author, 3333, 1)];
        Actor[PAYERS] memory payers;
        for (uint256 i; i < PAYERS; ++i) {
            payers[i] = actorOf(uint256(keccak256(abi.encode("payer", i))));
            accounts.push(payers[i].who);
        }
        for (uint256 i; i < PROVIDERS; ++i) {
            providers.push(actorOf(uint256(keccak256(abi.encode("provider", i)))));
            accounts.push(providers[i].who);
        }
        accounts.push(author);
        accounts.push(stranger.who);
        bindKey(payers[0].who, payers[2]);
        for (uint256 i; i < 2; ++i) {
            _fund(payers[i].who, 1000 * UNIT);
        }
        for (uint256 p; p < PROVIDERS; ++p) {
            _fund(providers[p].who, 100 * UNIT);
        }
        for (uint256 i; i < CHANNELS; ++i) {
            uint256 k = i / (PROVIDERS * LANES);
            Actor memory from = payers[k];
            address owner = k == 2 ? payers[0].who : from.who;
            Line memory line = Line(from, owner, providers[i / LANES % PROVIDERS], lanes[i % LANES]);
            lines.push(line);
            vm.prank(owner);
            vault.open(from.who, EXPIRY, one(line.lane, line.payee.who, 10 * UNIT));
            last[i] = _state(i);
        }
        _observe();
    }

    function _fund(address who, uint96 amount) internal {
        fund(who, amount);
        deposited += amount;
    }

    /// @dev The line of payer key `k` with provider `p` in lane `l`.
    function _lineOf(uint256 k, uint256 p, uint256 l) internal pure returns (uint256) {
        return (k * PROVIDERS + p) * LANES + l;
    }

    function _state(uint256 c) internal view returns (State memory s) {
        Line storage line = lines[c];
        (s.allocated, s.claimed, s.epoch, s.expiry) = vault.channelOf(line.payer.who, line.payee.who, line.lane);
    }

    function theVault() external view returns (IVault) {
        return vault;
    }

    function theToken() external view returns (address) {
        return address(token);
    }

    function held() public view returns (uint256) {
        return token.balanceOf(address(vault));
    }

    /* ---------- what must be true of every step ---------- */

    modifier observed(bytes32 fact) {
        _;
        seen[fact]++;
        _observe();
        _mustHappen();
    }

    /// @dev What a run has to have seen, whatever the fuzzer picks: see Honest.
    function _mustHappen() internal virtual;

    function _observe() internal {
        uint256 total = vault.burnedStake();
        atMost(lastBurned, total, "burned stake never falls");
        lastBurned = uint96(total);
        for (uint256 c; c < CHANNELS; ++c) {
            State memory s = _state(c);
            _compare(c, last[c], s);
            last[c] = s;
            total += s.allocated - s.claimed;
        }
        for (uint256 i; i < accounts.length; ++i) {
            (uint96 balance, uint96 staked,) = vault.accountOf(accounts[i]);
            total += uint256(balance) + staked;
        }
        owed = total;
        (touched, closed) = (0, 0);
        steps++;
    }

    function _compare(uint256 c, State memory was, State memory s) private {
        atMost(s.claimed, s.allocated, "C3: claimed is at most allocated");
        atMost(was.claimed, s.claimed, "C3: claimed never falls");
        atMost(was.expiry, s.expiry, "C9: no payee's window gets shorter");
        if (closed >> c & 1 == 1) {
            eq(s.epoch, uint256(was.epoch) + 1, "a release adds one to the epoch");
            eq(s.allocated, s.claimed, "and leaves nothing open");
            eq(s.claimed, was.claimed, "and pays nobody");
        } else {
            eq(s.epoch, was.epoch, "SYM-04: nothing but a release changes the epoch");
            atMost(was.allocated, s.allocated, "C3: allocated falls in a release alone");
        }
        if ((touched | closed) >> c & 1 == 0) {
            eq(s.allocated, was.allocated, "C6: nobody else's earmark changes");
            eq(s.claimed, was.claimed, "C6: nobody else's channel is paid");
            eq(s.expiry, was.expiry, "C6: nobody else's expiry changes");
        }
        if (s.claimed > was.claimed) {
            atMost(s.claimed, highestSigned[c][was.epoch], "C5: nothing is paid above what was signed for the epoch");
            seen["paid"]++;
            if (s.claimed == s.allocated) seen["paid in full"]++;
        }
    }

    /* ---------- instruments ---------- */

    /// @dev What the one payment rule says that an instrument is good for now (SYM-09).
    function _due(uint256 c, uint24 epoch, uint256 total) internal view returns (uint96) {
        State memory s = _state(c);
        uint256 target = total < s.allocated ? total : s.allocated;
        return s.epoch == epoch && target > s.claimed ? uint96(target - s.claimed) : 0;
    }

    /// @dev Values on and beside every bound, and some between: what a hostile payer would sign.
    function _boundary(uint256 c, uint256 raw) internal view returns (uint96) {
        State memory s = _state(c);
        uint256 pick = raw % 12;
        raw /= 12;
        if (pick < 3) return uint96(biased(raw, s.claimed, s.allocated));
        if (pick < 5) return uint96(biased(raw, 0, type(uint96).max));
        uint96[7] memory edges = [
            s.claimed == 0 ? 0 : s.claimed - 1,
            s.claimed,
            s.claimed + 1,
            s.allocated,
            s.allocated + 1,
            type(uint96).max - 1,
            type(uint96).max
        ];
        return edges[pick - 5];
    }

    /// @dev The payer signs a total of the present epoch; the payee keeps it.
    function _signVoucher(uint256 c, uint96 total) internal returns (uint256 index) {
        Line storage line = lines[c];
        uint24 epoch = _state(c).epoch;
        _noteSigned(c, epoch, total);
        index = book.length;
        book.push(Held(c, total, epoch, row(line.payer.pk, line.payee.who, line.lane, total, epoch)));
    }

    function _noteSigned(uint256 c, uint24 epoch, uint256 total) internal {
        if (total > highestSigned[c][epoch]) highestSigned[c][epoch] = total;
    }

    function _recordsOf(uint256 index) internal view returns (bytes memory) {
        Held storage h = book[index];
        return recordsFor(lines[h.line].payee.who, lines[h.line].lane, h.row);
    }

    /// @dev A stranger submits a kept voucher: it pays what is left of its total, whatever happened meanwhile (C7), and
    /// payee and author together get exactly what the channel was lifted by (SYM-16).
    function _redeem(uint256 index) internal {
        uint256 c = book[index].line;
        address to = lines[c].payee.who;
        uint96 due = _due(c, book[index].epoch, book[index].total);
        uint96 allocated = _state(c).allocated;
        (uint96 payeeHad, uint96 authorHad) = (balanceOf(to), balanceOf(author));
        bytes memory list = _recordsOf(index);
        vm.prank(stranger.who);
        uint96 credited = vault.claimFor(list);
        touched |= 1 << c;
        eq(balanceOf(to), payeeHad + credited, "the payee is credited");
        eq(uint256(credited) + balanceOf(author) - authorHad, due, "C7: a voucher pays what is left of its total");
        if (due != 0 && book[index].total > allocated) seen["clamped"]++;
    }

    /// @dev A stranger submits a kept quorum. Past its settle-by it is refused; before, each row pays what it is due.
    function _settleHeld(uint256 index) internal {
        HeldQuorum memory q = quorumBook[index];
        uint256 due;
        for (uint256 i; i < q.lines.length; ++i) {
            due += _due(q.lines[i], q.epochs[i], q.totals[i]);
            touched |= 1 << q.lines[i];
        }
        vm.prank(stranger.who);
        (bool ok, bytes memory answer) = address(vault).call(q.data);
        yes(ok == (block.timestamp <= q.settleBy), "a quorum settles until its settle-by");
        if (!ok) return;
        eq(abi.decode(answer, (uint96)), due, "C14: every agreeing replica is paid what is left of its total");
        if (due != 0) seen["quorum paid"]++;
    }
}
