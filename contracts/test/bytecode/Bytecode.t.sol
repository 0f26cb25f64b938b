// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Fixture} from "../helpers/Fixture.sol";
import {Scan} from "./Scan.sol";

/// @notice What the deployed code cannot do, whatever its source says: run code of others, change or remove itself, or
/// ask its storage who is in charge. How the last is checked:
/// - no read of a constant slot, where an owner, a pause or an implementation would lie, except the sum of burned
///   stakes, which only a slash reads, to add to it; and no storage beyond that one slot is anything but a mapping;
/// - what each call reads is recorded: slots of the accounts, keys and channels that its caller and arguments name, and
///   none else;
/// - whoever could be privileged (deployer, factory, court, token, the vault itself, a miner) is refused what a
///   stranger is refused (C19).
contract BytecodeTest is Fixture {
    uint256 internal constant LIMIT = 24_576;

    function codes() internal view returns (bytes[3] memory list) {
        return [address(vault).code, address(court).code, address(factory).code];
    }

    function test_code_size_is_under_the_limit_of_24576_bytes() public {
        bytes[3] memory list = codes();
        for (uint256 i; i < 3; ++i) {
            yes(list[i].length != 0, "there is code");
            atMost(list[i].length, LIMIT, "EIP-170");
        }
    }

    /// @dev Nothing runs foreign code in our place, nothing removes itself; vault and court deploy nothing.
    function test_C19_no_delegatecall_no_callcode_no_selfdestruct_no_origin() public {
        bytes[3] memory list = codes();
        for (uint256 i; i < 3; ++i) {
            uint256[256] memory count = Scan.opcodes(list[i]);
            yes(clean(count), "an opcode that none of these contracts may have");
            eq(count[Scan.CREATE], 0, "CREATE");
            eq(count[Scan.CREATE2], i == 2 ? 1 : 0, "the factory alone deploys, in one place");
        }
    }

    function clean(uint256[256] memory count) internal pure returns (bool) {
        return count[Scan.DELEGATECALL] + count[Scan.CALLCODE] + count[Scan.SELFDESTRUCT] + count[Scan.ORIGIN] == 0;
    }

    function test_C19_no_storage_is_read_as_an_authority() public {
        (uint256 reads, uint256 highest) = Scan.fixedReads(address(vault).code);
        eq(burnedSlot(), highest, "of the constant slots, that of the burned stake");
        atMost(reads, 2, "by its getter and by a slash");
        (reads,) = Scan.fixedReads(address(court).code);
        eq(reads, 0, "the court has no storage");
        eq(Scan.opcodes(address(court).code)[Scan.SLOAD], 0, "at all");
    }

    /// @dev The slot that changes when a stake is burned.
    function burnedSlot() internal returns (uint256 slot) {
        for (uint256 i; i < 16; ++i) {
            eq(vm.load(address(vault), bytes32(i)), bytes32(0), "nothing lies at a constant slot of a new vault");
        }
        fund(payee.who, 20 * UNIT);
        vm.prank(payee.who);
        vault.stake(20 * UNIT);
        vm.prank(address(court));
        vault.slash(payee.who, "order", stranger.who);
        for (uint256 i; i < 16; ++i) {
            bytes32 value = vm.load(address(vault), bytes32(i));
            if (value == bytes32(0)) continue;
            eq(uint256(value), 19 * UNIT, "the burned stake alone in its slot");
            slot = i;
        }
    }

    /// @dev The same by watching: a call reads what its caller and its arguments name.
    function test_C19_calls_read_only_what_their_caller_and_arguments_name() public {
        channel(payer, payee.who, LANE, 10 * UNIT);
        bytes32 id = vault.channelId(payer.who, payee.who, LANE);
        bytes memory list = records(LANE, row(payer.pk, payee.who, LANE, UNIT, 0));
        // The accounts' mapping is the vault's first; so is its hash's first word the account.
        bytes32 payersAccount = keccak256(abi.encode(payer.who, uint256(0)));
        bytes32 payeesAccount = keccak256(abi.encode(payee.who, uint256(0)));
        fund(payer.who, UNIT);
        reads(payer.who, abi.encodeCall(vault.withdraw, (payer.who, payer.who, 1)), payersAccount, payersAccount);
        reads(payer.who, abi.encodeCall(vault.open, (payer.who, EXPIRY, one(LANE, payee.who, 1))), payersAccount, id);
        reads(payee.who, abi.encodeCall(vault.claim, (list, address(0))), payeesAccount, id);
        vm.warp(EXPIRY);
        bytes memory data = abi.encodeCall(vault.release, (payer.who, LANE, closing(payee.who, "")));
        reads(payer.who, data, payersAccount, id);
        reads(payee.who, abi.encodeCall(vault.stake, (UNIT)), payeesAccount, payeesAccount);
        reads(payee.who, abi.encodeCall(vault.requestUnstake, ()), payeesAccount, payeesAccount);
        reads(payee.who, abi.encodeCall(vault.register, ("peer", "", "")), payeesAccount, payeesAccount);
    }

    function reads(address who, bytes memory data, bytes32 a, bytes32 b) internal {
        vm.record();
        vm.prank(who);
        (bool ok,) = address(vault).call(data);
        yes(ok, "the call");
        (bytes32[] memory slots,) = vm.accesses(address(vault));
        yes(slots.length != 0, "something is read");
        for (uint256 i; i < slots.length; ++i) {
            yes(slots[i] == a || slots[i] == b, "and nothing that nobody named");
        }
    }

    function test_C19_nobody_is_privileged() public {
        channel(payer, payee.who, LANE, 10 * UNIT);
        fund(payer.who, UNIT);
        vm.prank(payer.who);
        vault.stake(1);
        // Address zero is left out: nobody can send from it, and a key without an owner answers to it in a simulation.
        address[7] memory who = [
            address(this),
            address(factory),
            address(court),
            address(token),
            address(vault),
            address(uint160(uint256(keccak256("a miner")))),
            stranger.who
        ];
        vm.coinbase(who[5]);
        bytes[8] memory calls = [
            abi.encodeCall(vault.withdraw, (payer.who, stranger.who, 1)),
            abi.encodeCall(vault.release, (payer.who, LANE, closing(payee.who, ""))),
            abi.encodeCall(vault.open, (payer.who, EXPIRY, one(LANE, stranger.who, 1))),
            abi.encodeCall(vault.bind, (payer.who, new bytes(64))),
            abi.encodeCall(vault.revoke, (payer.who)),
            abi.encodeCall(vault.withdrawStake, ()),
            abi.encodeCall(vault.deposit, (stranger.who, 1)),
            abi.encodeCall(vault.slash, (payer.who, bytes32(0), stranger.who))
        ];
        for (uint256 i; i < who.length; ++i) {
            for (uint256 j; j < calls.length; ++j) {
                // The court slashes: that is what it is for, and its own code says on what evidence.
                if (who[i] == address(court) && j == 7) continue;
                vm.prank(who[i]);
                (bool ok,) = address(vault).call(calls[j]);
                yes(!ok, "refused like anybody");
            }
        }
    }

    /// @dev A scan that finds nothing proves nothing: each of these has to be found.
    function test_canary_planted_code_fails_the_scan() public {
        yes(!clean(Scan.opcodes(address(new Delegates()).code)), "DELEGATECALL");
        yes(!clean(Scan.opcodes(address(new Dies()).code)), "SELFDESTRUCT");
        yes(!clean(Scan.opcodes(address(new AsksOrigin()).code)), "ORIGIN");
        yes(!clean(Scan.opcodes(hex"5f5f5f5f5f5f5f5ff200")), "CALLCODE");
        (uint256 found,) = Scan.fixedReads(address(new Owned()).code);
        yes(found != 0, "an owner in storage");
        // Data is no opcode: 32 bytes of SELFDESTRUCT behind a PUSH32, and a push that the code's end cuts off.
        bytes memory data = bytes.concat(hex"7f", bytes32(type(uint256).max), hex"00", hex"62f4f4");
        yes(clean(Scan.opcodes(data)), "what is pushed is no code");
        yes(!clean(Scan.opcodes(bytes.concat(hex"7f", bytes32(type(uint256).max), hex"ff"))), "what stands behind is");
    }
}

contract Delegates {
    function run(address to, bytes calldata data) external {
        (bool ok,) = to.delegatecall(data);
        require(ok);
    }
}

contract Dies {
    function end(address payable to) external {
        selfdestruct(to);
    }
}

contract AsksOrigin {
    function mine() external view returns (bool) {
        return tx.origin == msg.sender;
    }
}

contract Owned {
    address internal owner = msg.sender;
    uint256 internal fee;

    function setFee(uint256 fee_) external {
        require(msg.sender == owner);
        fee = fee_;
    }
}
