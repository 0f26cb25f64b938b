// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

/// @notice A token that moves what it is told, and answers in bytes of any length, or not at all.
contract TerseToken {
    mapping(address => uint256) public held;
    uint256 public moves;
    uint256 public balanceBytes = 32;
    uint256 public balanceBytesAfterMove = 32;
    uint256 public answerBytes = 32;
    /// @dev What a move does beside what it is told.
    int256 public extra;

    function mint(address to, uint256 amount) external {
        held[to] += amount;
    }

    /// @dev Lengths of balances before and after the next move, and of the move's answer. 33 bytes mean a revert.
    function answer(uint256 before, uint256 later, uint256 move) external {
        (moves, balanceBytes, balanceBytesAfterMove, answerBytes) = (0, before, later, move);
    }

    function steal(address from) external {
        held[from] = 0;
    }

    /// @dev The next moves change the caller's balance by so much, instead of what they are told.
    function distort(int256 extra_) external {
        extra = extra_;
    }

    function balanceOf(address who) external view {
        _say(held[who], moves == 0 ? balanceBytes : balanceBytesAfterMove);
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private {
        if (extra == 0) {
            held[from] -= amount;
            held[to] += amount;
        } else {
            held[msg.sender] = uint256(int256(held[msg.sender]) + extra);
        }
        ++moves;
        _say(1, answerBytes);
    }

    function _say(uint256 word, uint256 length) private pure {
        if (length == 33) revert("no");
        assembly {
            mstore(0x00, word)
            mstore(0x20, 0)
            return(0x00, length)
        }
    }
}

contract TokenCallsTest is Fixture {
    TerseToken internal terse;
    IVault internal own;

    function setUp() public override {
        super.setUp();
        terse = new TerseToken();
        own = IVault(factory.deploy(address(terse)));
        terse.mint(payer.who, 1000);
        vm.prank(payer.who);
        own.deposit(payer.who, 100);
    }

    function test_SYM_02_a_deposit_is_measured_before_and_after() public {
        uint256[3] memory silent = [uint256(0), 31, 33];
        for (uint256 i; i < silent.length; ++i) {
            terse.answer(silent[i], 32, 32);
            refuses(IVault.TokenTransferFailed.selector);
            vm.prank(payer.who);
            own.deposit(payer.who, 100);
            terse.answer(32, silent[i], 32);
            refuses(IVault.TokenTransferFailed.selector);
            vm.prank(payer.who);
            own.deposit(payer.who, 100);
        }
        terse.answer(64, 64, 32);
        vm.prank(payer.who);
        eq(own.deposit(payer.who, 100), 100, "a longer answer is an answer");
    }

    function test_SYM_02_a_payout_that_cannot_be_measured_is_not_tried() public {
        uint256[3] memory silent = [uint256(0), 31, 33];
        for (uint256 i; i < silent.length; ++i) {
            terse.answer(silent[i], 32, 32);
            vm.expectEmit(true, true, true, true, address(own));
            emit IVault.PayoutFailed(payer.who, payee.who, 100);
            vm.prank(payer.who);
            own.claim("", payee.who);
            eq(terse.moves(), 0, "the token was not told to move anything");
            terse.answer(32, silent[i], 32);
            refuses(IVault.TokenTransferFailed.selector);
            vm.prank(payer.who);
            own.claim("", payee.who);
            (uint96 balance,,) = own.accountOf(payer.who);
            eq(balance, 100, "the credit stays");
        }
    }

    function test_SYM_02_success_is_nothing_or_a_whole_word() public {
        uint256[3] memory short = [uint256(1), 31, 33];
        for (uint256 i; i < short.length; ++i) {
            terse.answer(32, 32, short[i]);
            refuses(IVault.TokenTransferFailed.selector);
            vm.prank(payer.who);
            own.deposit(payer.who, 10);
            refuses(IVault.TokenTransferFailed.selector);
            vm.prank(payer.who);
            own.withdraw(payer.who, payer.who, 10);
        }
        uint256[3] memory good = [uint256(0), 32, 64];
        for (uint256 i; i < good.length; ++i) {
            terse.answer(32, 32, good[i]);
            vm.startPrank(payer.who);
            eq(own.deposit(payer.who, 10), 10, "credited");
            own.withdraw(payer.who, payer.who, 10);
            vm.stopPrank();
        }
    }

    function test_SYM_02_a_deposit_that_takes_from_the_vault_is_refused() public {
        int256[2] memory changes = [int256(-1), -100];
        for (uint256 i; i < changes.length; ++i) {
            terse.distort(changes[i]);
            refuses(IVault.TokenTransferFailed.selector);
            vm.prank(payer.who);
            own.deposit(payer.who, 10);
        }
    }

    function test_SYM_02_a_payout_that_brings_tokens_has_failed() public {
        terse.distort(1);
        vm.expectEmit(true, true, true, true, address(own));
        emit IVault.PayoutFailed(payer.who, payee.who, 100);
        vm.prank(payer.who);
        own.claim("", payee.who);
        (uint96 balance,,) = own.accountOf(payer.who);
        eq(balance, 100, "the credit stays");
    }

    function test_SYM_02_a_payout_may_take_less_and_not_more() public {
        terse.distort(-11);
        refuses(IVault.TokenTransferFailed.selector);
        vm.prank(payer.who);
        own.withdraw(payer.who, payer.who, 10);
        terse.distort(-9);
        vm.prank(payer.who);
        own.withdraw(payer.who, payer.who, 10);
        (uint96 balance,,) = own.accountOf(payer.who);
        eq(balance, 90, "the rest is the token's own affair");
    }

    /// @dev It says that it holds nothing, and after every deposit that it holds all there can be.
    function test_SYM_01_a_token_that_lies_cannot_make_a_balance_overflow() public {
        vm.startPrank(payer.who);
        terse.distort(int256(uint256(type(uint96).max)) - 100);
        eq(own.deposit(payer.who, 10), type(uint96).max - 100, "credited");
        terse.distort(-1);
        refuses(IVault.TokenTransferFailed.selector);
        own.deposit(payer.who, 10);
        vm.stopPrank();
        terse.steal(address(own));
        terse.distort(1);
        refuses(abi.encodeWithSelector(IVault.AmountTooLarge.selector, uint256(type(uint96).max) + 1));
        vm.prank(payer.who);
        own.deposit(payer.who, 10);
    }
}
