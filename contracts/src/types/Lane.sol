// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice A channel's lane: author (20 bytes) ‖ basis points (2) ‖ number (10). The lane is the royalty (SYM-16).
type Lane is bytes32;

using LaneLibrary for Lane global;

/// @title LaneLibrary
library LaneLibrary {
    uint256 internal constant MAX_BPS = 10_000;

    /// @notice The lane of a roster leaf: the order's royalty and a two-byte lane number.
    function fromRoyalty(bytes22 terms, uint16 laneNumber) internal pure returns (Lane) {
        return Lane.wrap(bytes32(terms) | bytes32(uint256(laneNumber)));
    }

    /// @notice Who earns the royalty; zero means that there is none.
    function author(Lane lane) internal pure returns (address) {
        return address(bytes20(Lane.unwrap(lane)));
    }

    /// @notice The author's share in basis points.
    function bps(Lane lane) internal pure returns (uint256) {
        return (uint256(Lane.unwrap(lane)) >> 80) & 0xffff;
    }

    /// @notice The number that tells channels of one payer, payee and royalty apart.
    function number(Lane lane) internal pure returns (uint80) {
        return uint80(uint256(Lane.unwrap(lane)));
    }

    /// @notice True unless the share is above the whole, or a share has nobody to go to.
    function isValid(Lane lane) internal pure returns (bool) {
        uint256 share = lane.bps();
        return share <= MAX_BPS && (share == 0 || lane.author() != address(0));
    }

    /// @notice The author's part of a payment that lifts `claimed` from one total to a higher one.
    /// @dev A difference of two floors: however a total is cut into payments, the parts add up to the same.
    function royalty(Lane lane, uint96 from, uint96 to) internal pure returns (uint96) {
        if (lane.author() == address(0)) return 0;
        uint256 share = lane.bps();
        // unchecked: 96-bit totals times a 16-bit share fit in 112 bits, and from <= to; the result is at most
        // to - from because a valid lane's share is at most MAX_BPS (open refuses any other, so nothing is
        // allocated there and no payment gets here).
        unchecked {
            return uint96((uint256(to) * share) / MAX_BPS - (uint256(from) * share) / MAX_BPS);
        }
    }
}
