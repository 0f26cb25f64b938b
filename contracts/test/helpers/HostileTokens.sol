// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice A minimal ERC-20 whose transfers misbehave in the ways a vault must survive (SYM-02).
contract HostileToken {
    enum Mode {
        Honest,
        Fee, // 1% of what arrives is burned
        FeeOnTop, // the sender loses 1% more than the amount
        NoReturn,
        False, // moves nothing, returns false
        FalseButMoves, // moves, then returns false
        TrueButStays, // moves nothing, returns true
        Reverts,
        BurnsGas,
        HugeReturn,
        Junk, // returns two
        Calls // calls back into `target` before moving
    }

    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    Mode public mode;
    address public target;
    bytes public payload;
    bool public calledBack;
    bool public callbackSucceeded;
    bytes public callbackData;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function become(Mode mode_) external {
        mode = mode_;
    }

    function callBack(address target_, bytes calldata payload_) external {
        mode = Mode.Calls;
        target = target_;
        payload = payload_;
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private {
        Mode m = mode;
        if (m == Mode.Reverts) revert("no");
        if (m == Mode.BurnsGas) for (uint256 i;; ++i) {
            payload.push(0x01);
        }
        if (m == Mode.HugeReturn) {
            assembly {
                revert(0, 1000000)
            }
        }
        if (m == Mode.Calls) {
            calledBack = true;
            (callbackSucceeded, callbackData) = target.call(payload);
        }
        bool moves = m != Mode.False && m != Mode.TrueButStays;
        if (moves) {
            balanceOf[from] -= m == Mode.FeeOnTop ? amount + amount / 100 : amount;
            balanceOf[to] += m == Mode.Fee ? amount - amount / 100 : amount;
        }
        uint256 answer = m == Mode.False || m == Mode.FalseButMoves ? 0 : (m == Mode.Junk ? 2 : 1);
        if (m == Mode.NoReturn) return;
        assembly {
            mstore(0, answer)
            return(0, 32)
        }
    }
}
