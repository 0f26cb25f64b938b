// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {QuorumRows} from "../src/libraries/QuorumRows.sol";
import {Lane} from "../src/types/Lane.sol";

interface Cheats {
    function assume(bool) external pure;
}

/// @notice Symbolic properties of royalties, prices and rewards at their full widths. Products and quotients are beyond
/// a solver of bits; cvc5 reads them as the integers they are, and needs a second.
/// @custom:halmos --solver-command cvc5
contract ArithmeticCheck {
    Cheats private constant vm = Cheats(address(uint160(uint256(keccak256("hevm cheat code")))));

    function lane(uint16 share) private pure returns (Lane) {
        return Lane.wrap(bytes32((uint256(1) << 96) | (uint256(share) << 80)));
    }

    /* ---------- royalties ---------- */

    /// @dev That a royalty is at most its payment is beyond the solver in one step. The first step: products.
    function check_products_of_a_share_grow_at_most_by_the_whole(uint16 share, uint96 from, uint96 to) external pure {
        vm.assume(share <= 10_000 && from <= to);
        unchecked {
            assert(uint256(to) * share - uint256(from) * share <= uint256(to - from) * 10_000);
        }
    }

    function check_products_of_a_share_never_fall(uint16 share, uint96 from, uint96 to) external pure {
        vm.assume(share <= 10_000 && from <= to);
        unchecked {
            assert(uint256(from) * share <= uint256(to) * share);
        }
    }

    /// @dev The second step: their quotients.
    function check_quotients_grow_at_most_by_the_growth(uint112 less, uint112 more, uint96 growth) external pure {
        unchecked {
            vm.assume(less <= more && uint256(more) - less <= uint256(growth) * 10_000);
            assert(uint256(more) / 10_000 - uint256(less) / 10_000 <= growth);
        }
    }

    /// @dev The third: that this is what a royalty is. What it assumes is what the two steps before it show.
    function check_royalty_is_at_most_the_payment(uint16 share, uint96 from, uint96 to) external pure {
        vm.assume(share <= 10_000 && from <= to);
        unchecked {
            vm.assume((uint256(to) * share) / 10_000 - (uint256(from) * share) / 10_000 <= to - from);
            assert(lane(share).royalty(from, to) <= to - from);
        }
    }

    function check_royalty_does_not_depend_on_the_cuts(uint16 share, uint96 a, uint96 b, uint96 c) external pure {
        unchecked {
            assert(lane(share).royalty(a, b) + lane(share).royalty(b, c) == lane(share).royalty(a, c));
        }
    }

    function check_royalty_rounds_a_total_down(uint16 share, uint96 to) external pure {
        vm.assume(share <= 10_000);
        unchecked {
            uint256 royalty = lane(share).royalty(0, to);
            uint256 exact = uint256(to) * share;
            assert(royalty * 10_000 <= exact && exact < (royalty + 1) * 10_000);
        }
    }

    function check_royalty_of_the_whole_is_the_payment(uint96 from, uint96 to) external pure {
        vm.assume(from <= to);
        assert(lane(10_000).royalty(from, to) == to - from);
    }

    function check_royalty_of_no_share_is_nothing(uint96 from, uint96 to) external pure {
        assert(lane(0).royalty(from, to) == 0);
    }

    /* ---------- prices ---------- */

    function check_price_rounds_up(uint96 flat, uint96 rate, uint64 fuel) external pure {
        unchecked {
            uint256 charged = (QuorumRows.price(flat, rate, fuel) - flat) * 1e9;
            uint256 exact = uint256(rate) * fuel;
            assert(charged >= exact && charged < exact + 1e9);
        }
    }

    function check_price_of_a_unit_of_fuel_is_exact(uint96 flat, uint96 rate) external pure {
        assert(QuorumRows.price(flat, rate, 1e9) == uint256(flat) + rate);
    }

    function check_price_never_falls_with_fuel(uint96 flat, uint96 rate, uint64 fuel, uint64 more) external pure {
        vm.assume(fuel <= more);
        assert(QuorumRows.price(flat, rate, fuel) <= QuorumRows.price(flat, rate, more));
    }

    function check_price_never_falls_with_the_rate(uint96 flat, uint96 rate, uint96 more, uint64 fuel) external pure {
        vm.assume(rate <= more);
        assert(QuorumRows.price(flat, rate, fuel) <= QuorumRows.price(flat, more, fuel));
    }

    /* ---------- slashing ---------- */

    /// @dev That the vault divides so is check_slash_rewards_a_twentieth_up_to_the_cap.
    function check_a_twentieth_rounds_down(uint96 taken) external pure {
        unchecked {
            uint256 reward = taken / 20;
            assert(reward * 20 <= taken && taken < (reward + 1) * 20);
        }
    }
}
