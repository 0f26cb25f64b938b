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
        Calls, // calls back into `target` before moving
        Bomb, // moves, and returns a megabyte that starts with true
        Blacklists, // moves nothing from or to who is blocked
        HidesBalances, // moves, and does not say who has what
        BombsBalances // moves, and says so in a megabyte
    }

    mapping(address => uint256) private balances;
    mapping(address => mapping(address => uint256)) public allowance;
    mapping(address => bool) public blocked;
    uint8 public decimals = 18;
    Mode public mode;
    address public target;
    bytes public payload;
    bool public calledBack;
    bool public callbackSucceeded;
    bytes public callbackData;

    function setDecimals(uint8 decimals_) external {
        decimals = decimals_;
    }

    function block_(address who) external {
        (mode, blocked[who]) = (Mode.Blacklists, true);
    }

    /// @dev What the token has on its own books, whatever it says.
    function onBooks(address who) external view returns (uint256) {
        return balances[who];
    }

    function balanceOf(address who) external view returns (uint256) {
        if (mode == Mode.HidesBalances) revert("no");
        if (mode == Mode.BombsBalances) _bomb(balances[who]);
        return balances[who];
    }

    /// @dev The token's own account in a vault.
    function act(address target_, bytes calldata payload_) external returns (bytes memory answer) {
        bool ok;
        (ok, answer) = target_.call(payload_);
        require(ok, "the token's own call failed");
    }

    function mint(address to, uint256 amount) external {
        balances[to] += amount;
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
        if (m == Mode.Blacklists && (blocked[from] || blocked[to])) revert("blocked");
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
            balances[from] -= m == Mode.FeeOnTop ? amount + amount / 100 : amount;
            balances[to] += m == Mode.Fee ? amount - amount / 100 : amount;
        }
        uint256 answer = m == Mode.False || m == Mode.FalseButMoves ? 0 : (m == Mode.Junk ? 2 : 1);
        if (m == Mode.NoReturn) return;
        if (m == Mode.Bomb) _bomb(1);
        assembly {
            mstore(0, answer)
            return(0, 32)
        }
    }

    function _bomb(uint256 word) private pure {
        assembly {
            mstore(0, word)
            return(0, 1000000)
        }
    }
}
