// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Lane, LaneLibrary} from "../../../src/types/Lane.sol";
import {Assertions} from "../../helpers/Assertions.sol";

contract LaneTest is Assertions {
    function testFuzz_SYM_16_a_lane_is_author_share_and_number(address author, uint16 bps, uint80 number) public {
        Lane lane = Lane.wrap(bytes32(abi.encodePacked(author, bps, number)));
        eq(lane.author(), author, "author");
        eq(lane.bps(), bps, "bps");
        eq(lane.number(), number, "number");
        yes(lane.isValid() == (bps == 0 || (bps <= 10_000 && author != address(0))), "valid");
    }

    function testFuzz_SYM_16_a_leafs_lane_number_completes_the_royalty(bytes22 terms, uint16 number) public {
        Lane lane = LaneLibrary.fromRoyalty(terms, number);
        eq(Lane.unwrap(lane), bytes32(abi.encodePacked(terms, uint80(number))), "lane");
    }

    function testFuzz_SYM_16_royalty_is_a_difference_of_floors(uint256 rawBps, uint256 rawFrom, uint256 rawTo) public {
        uint256 bps = biased(rawBps, 0, 10_000);
        uint96 to = uint96(biased(rawTo, 0, type(uint96).max));
        uint96 from = uint96(biased(rawFrom, 0, to));
        Lane lane = Lane.wrap(bytes32(abi.encodePacked(address(1), uint16(bps), uint80(0))));
        uint96 royalty = lane.royalty(from, to);
        eq(royalty, uint256(to) * bps / 10_000 - uint256(from) * bps / 10_000, "royalty");
        atMost(royalty, to - from, "never above the payment");
    }

    function test_SYM_16_no_author_no_royalty() public {
        Lane lane = Lane.wrap(bytes32(uint256(5000) << 80));
        eq(lane.royalty(0, 1000), 0, "royalty");
    }
}
