// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Bind, Closing, Earmarks, IVault, Release, Result, Voucher, WorkOrder} from "./interfaces/IVault.sol";
import {Digests} from "./libraries/Digests.sol";
import {QuorumRow, QuorumRows} from "./libraries/QuorumRows.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {TokenCalls} from "./libraries/TokenCalls.sol";
import {VoucherRow, VoucherRows} from "./libraries/VoucherRows.sol";
import {Account, AccountSlot} from "./types/AccountSlot.sol";
import {Channel, ChannelSlot, ChannelSlotLibrary} from "./types/ChannelSlot.sol";
import {KeySlot, KeySlotLibrary} from "./types/KeySlot.sol";
import {Lane, LaneLibrary} from "./types/Lane.sol";

/// @title Vault
/// @notice Documented in IVault. Assumptions written down:
/// - The token is an ERC-20 whose balanceOf tells the truth about this vault. Any other harms this vault alone.
/// - All liabilities together are at most what the vault holds, which deposit keeps at or below 2^96-1; hence sums
///   of credits cannot overflow 96 bits, and where a hostile token breaks the premise checked arithmetic reverts.
/// - Only deposit, withdraw and a claim's payout call the token. They share one lock; everything else may run
///   while the token holds control, and reads its storage afresh.
contract Vault is IVault {
    using TokenCalls for address;

    /* ---------- constants ---------- */

    /// @notice How far ahead an expiry may lie, in seconds.
    uint256 internal constant MAX_EXPIRY_AHEAD_SECS = 400 days;
    /// @notice From the request to the withdrawal of a stake, in seconds.
    uint256 internal constant UNSTAKE_SECS = 14 days;
    /// @notice A reporter's part of a slashed stake is one in so many...
    uint256 internal constant REWARD_DIVISOR = 20;
    /// @notice ...and at most this, in base units.
    uint96 internal constant MAX_REWARD_BASE = 100e18;
    /// @notice The most bytes a registration may carry.
    uint256 internal constant MAX_REGISTRATION_BYTES = 1024;

    /* ---------- storage ---------- */

    /// @inheritdoc IVault
    address public immutable token;
    /// @inheritdoc IVault
    address public immutable court;
    bytes32 private immutable cachedDomain;
    uint256 private immutable cachedChainId;

    mapping(address account => Account) private accounts;
    mapping(address key => KeySlot) private keys;
    /// @inheritdoc IVault
    mapping(address provider => mapping(bytes32 order => bool)) public isSlashed;
    /// @inheritdoc IVault
    uint96 public burnedStake;

    // A whole word: a bool would be read again for every write. Zero while nothing calls the token.
    uint256 private transient locked;

    /// @dev Held by everything that calls the token (SYM-02).
    modifier tokenLock() {
        if (locked != 0) revert Reentered();
        locked = 1;
        _;
        locked = 0;
    }

    constructor(address token_, address court_) {
        if (token_ == address(0) || court_ == address(0)) revert ZeroAddress();
        token = token_;
        court = court_;
        cachedChainId = block.chainid;
        cachedDomain = Digests.domainSeparator(address(this));
    }

    /* ---------- accounts ---------- */

    /// @inheritdoc IVault
    function accountOf(address account) external view returns (uint96 balance, uint96 stake, uint40 unbondingAt) {
        AccountSlot slot = accounts[account].slot;
        return (slot.balance(), slot.stake(), slot.unbondingAt());
    }

    /// @inheritdoc IVault
    function ownerOfKey(address key) external view returns (address owner, bool revoked) {
        KeySlot slot = keys[key];
        return (slot.owner(), slot.isRevoked());
    }

    /// @inheritdoc IVault
    function deposit(address beneficiary, uint96 amount) external tokenLock returns (uint96 credited) {
        return _deposit(beneficiary, amount);
    }

    /// @inheritdoc IVault
    function depositWithPermit(address beneficiary, uint96 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        tokenLock
        returns (uint96 credited)
    {
        // A permit that somebody else submitted first fails here and has done its work already.
        token.tryPermit(msg.sender, address(this), amount, deadline, v, r, s);
        return _deposit(beneficiary, amount);
    }

    function _deposit(address beneficiary, uint96 amount) private returns (uint96 credited) {
        if (beneficiary == address(0)) revert ZeroAddress();
        if (amount == 0) revert ZeroAmount();
        (uint256 arrived, uint256 holds) = token.pullIn(msg.sender, amount);
        if (holds > type(uint96).max) revert VaultFull(holds);
        credited = uint96(arrived);
        Account storage account = accounts[beneficiary];
        // Read after the token had control. One read tells of the caller and of the balance, where they are one.
        AccountSlot slot = account.slot;
        if ((beneficiary == msg.sender ? slot : accounts[msg.sender].slot).isBound()) revert KeyIsBound(msg.sender);
        account.slot = slot.plus(credited);
        emit Deposited(beneficiary, credited);
    }

    /// @inheritdoc IVault
    function withdraw(address account, address to, uint96 amount) external tokenLock {
        _unboundCaller();
        if (account != msg.sender) _ownedKey(account);
        if (to == address(0)) revert ZeroAddress();
        if (amount == 0) revert ZeroAmount();
        _debit(account, amount);
        if (!token.payOut(to, amount)) revert TokenTransferFailed();
        emit Withdrawn(account, to, amount);
    }

    /// @inheritdoc IVault
    function payMany(bytes32[] calldata words) external {
        _unboundCaller();
        uint256 total;
        for (uint256 i; i < words.length; ++i) {
            (address payee, uint96 amount) = _split(words[i]);
            if (payee == address(0)) revert ZeroAddress();
            _credit(payee, amount);
            // unchecked: fewer than 2^64 words of 96 bits.
            unchecked {
                total += amount;
            }
        }
        // Last: what the caller gave itself it gives away here, so the order changes nothing.
        _debit(msg.sender, _narrow(total));
        emit PaidMany(msg.sender, words);
    }

    /* ---------- keys ---------- */

    /// @inheritdoc IVault
    function bind(address key, bytes calldata signature) external {
        AccountSlot owner = _unboundCaller();
        if (key == address(0)) revert ZeroAddress();
        if (keys[key].owner() != address(0)) revert KeyIsBound(key);
        AccountSlot account = accounts[key].slot;
        if (key == msg.sender || account.ownsKeys() || account.stake() != 0) revert KeyCannotBeBound(key);
        if (Signatures.recover(_typed(Digests.bind(msg.sender)), signature) != key) revert BadSignature();
        keys[key] = KeySlotLibrary.boundTo(msg.sender);
        accounts[key].slot = account.withBound();
        if (!owner.ownsKeys()) accounts[msg.sender].slot = owner.withOwnsKeys();
        emit Bound(msg.sender, key);
    }

    /// @inheritdoc IVault
    function revoke(address key) external {
        _unboundCaller();
        KeySlot slot = _ownedKey(key);
        if (slot.isRevoked()) revert KeyIsRevoked(key);
        keys[key] = slot.withRevoked();
        emit Revoked(msg.sender, key);
    }

    /* ---------- channels ---------- */

    /// @inheritdoc IVault
    function channelId(address key, address payee, bytes32 lane) public pure returns (bytes32) {
        return Digests.channelId(key, payee, lane);
    }

    /// @inheritdoc IVault
    function channelOf(address key, address payee, bytes32 lane)
        external
        view
        returns (uint96 allocated, uint96 claimed, uint24 epoch, uint40 expiry)
    {
        ChannelSlot slot = _channel(key, payee, lane).slot;
        return (slot.allocated(), slot.claimed(), slot.epoch(), slot.expiry());
    }

    /// @inheritdoc IVault
    function open(address key, uint40 expiry, Earmarks[] calldata earmarks) external {
        _unboundCaller();
        if (key != msg.sender && _ownedKey(key).isRevoked()) revert KeyIsRevoked(key);
        if (expiry <= block.timestamp) revert ExpiryPassed(expiry);
        uint256 latest = block.timestamp + MAX_EXPIRY_AHEAD_SECS;
        if (expiry > latest) revert ExpiryTooFar(expiry, uint40(latest));
        uint256 total;
        for (uint256 i; i < earmarks.length; ++i) {
            bytes32 lane = earmarks[i].lane;
            bytes32[] calldata words = earmarks[i].words;
            if (!Lane.wrap(lane).isValid()) revert BadLane(lane);
            for (uint256 j; j < words.length; ++j) {
                // unchecked: fewer than 2^64 words of 96 bits.
                unchecked {
                    total += _earmark(key, lane, words[j], expiry);
                }
            }
            emit Opened(key, lane, expiry, words);
        }
        _debit(msg.sender, _narrow(total));
    }

    function _earmark(address key, bytes32 lane, bytes32 word, uint40 expiry) private returns (uint96 amount) {
        address payee;
        (payee, amount) = _split(word);
        if (payee == address(0)) revert ZeroAddress();
        Channel storage channel = _channel(key, payee, lane);
        ChannelSlot slot = channel.slot;
        // The last epoch cannot be released, so nothing may be earmarked in it.
        if (slot.epoch() == type(uint24).max) revert EpochExhausted(payee);
        uint256 allocated = uint256(slot.allocated()) + amount;
        if (allocated > type(uint96).max) revert AllocationTooLarge(payee);
        uint40 until = slot.expiry() > expiry ? slot.expiry() : expiry;
        channel.slot = ChannelSlotLibrary.pack(uint96(allocated), slot.claimed(), slot.epoch(), until);
    }

    /// @inheritdoc IVault
    function release(address key, bytes32 lane, Closing[] calldata rows) external returns (uint96 refund) {
        _unboundCaller();
        if (key != msg.sender) _ownedKey(key);
        for (uint256 i; i < rows.length; ++i) {
            refund += _release(key, lane, rows[i].payee, rows[i].signature);
        }
        _credit(msg.sender, refund);
    }

    function _release(address key, bytes32 lane, address payee, bytes calldata signature)
        private
        returns (uint96 refund)
    {
        Channel storage channel = _channel(key, payee, lane);
        ChannelSlot slot = channel.slot;
        uint24 epoch = slot.epoch();
        if (block.timestamp < slot.expiry()) {
            if (signature.length == 0) revert NotExpired(payee, slot.expiry());
            address signer = Signatures.recover(_typed(Digests.release(key, lane, epoch)), signature);
            if (signer == address(0) || signer != payee) revert BadSignature();
        }
        if (epoch == type(uint24).max) revert EpochExhausted(payee);
        // unchecked: claimed <= allocated always (SYM-09); the epoch is below its maximum.
        unchecked {
            refund = slot.allocated() - slot.claimed();
            channel.slot = ChannelSlotLibrary.pack(slot.claimed(), slot.claimed(), epoch + 1, slot.expiry());
        }
        emit Released(key, payee, lane, epoch, refund);
    }

    /// @dev The one payment rule (SYM-09): lifts `claimed` to the total, as far as the earmark goes.
    /// @return paid By how much, gross of royalty; zero when the instrument has nothing new to say.
    /// @return royalty The author's part of it.
    function _settle(address key, address payee, bytes32 lane, uint24 epoch, uint256 total)
        private
        returns (uint96 paid, uint96 royalty)
    {
        Channel storage channel = _channel(key, payee, lane);
        ChannelSlot slot = channel.slot;
        if (slot.epoch() != epoch) return (0, 0);
        uint96 allocated = slot.allocated();
        uint96 claimed = slot.claimed();
        uint96 target = total < allocated ? uint96(total) : allocated;
        if (target <= claimed) return (0, 0);
        channel.slot = slot.withClaimed(target);
        // unchecked: target > claimed was just checked.
        unchecked {
            paid = target - claimed;
        }
        royalty = Lane.wrap(lane).royalty(claimed, target);
    }

    /* ---------- claims ---------- */

    /// @inheritdoc IVault
    function claim(bytes calldata records, address payTo) external returns (uint96 credited) {
        for (uint256 offset; offset < records.length;) {
            uint96 part;
            (part, offset) = _claimLane(msg.sender, records, offset);
            credited += part;
        }
        if (payTo == address(0)) _credit(msg.sender, credited);
        else _claimOut(payTo, credited);
    }

    /// @dev One write of the account for credit and payout together; a payout that fails leaves the credit.
    function _claimOut(address payTo, uint96 credited) private tokenLock {
        AccountSlot slot = _unboundCaller();
        uint96 had = slot.balance();
        uint96 amount = slot.plus(credited).balance();
        if (amount == 0) return;
        if (had != 0) accounts[msg.sender].slot = slot.withBalance(0);
        // The token's own log tells of a payout; this one of its failure.
        if (token.payOut(payTo, amount)) return;
        _credit(msg.sender, amount);
        emit PayoutFailed(msg.sender, payTo, amount);
    }

    /// @inheritdoc IVault
    function claimFor(bytes calldata records) external returns (uint96 credited) {
        address payee;
        uint96 pending;
        for (uint256 offset; offset < records.length;) {
            address next = address(bytes20(VoucherRows.headerAt(records, offset, 20)));
            if (next != payee) {
                _credit(payee, pending);
                (payee, pending) = (next, 0);
            }
            uint96 part;
            (part, offset) = _claimLane(next, records, offset + 20);
            pending += part;
            credited += part;
        }
        _credit(payee, pending);
    }

    /// @dev One header and its vouchers. Credits the author; the payee's part is the caller's to credit.
    /// A row that pays nothing is passed over, whatever is wrong with it (SYM-06).
    function _claimLane(address payee, bytes calldata records, uint256 offset)
        private
        returns (uint96 credited, uint256 end)
    {
        bytes32 lane = VoucherRows.headerAt(records, offset, 33);
        bytes32 domain = DOMAIN_SEPARATOR();
        uint256 bitmap;
        uint256 sum;
        uint256 royalties;
        // unchecked: an offset within the calldata and 255 rows more; a royalty is at most its payment; at most 255
        // rows of 96 bits.
        unchecked {
            uint256 count = VoucherRows.countAt(records, offset + 32);
            if (count == 0) revert BadRecords(offset + 32);
            offset += 33;
            end = offset + count * VoucherRows.ROW_BYTES;
            if (end > records.length) revert BadRecords(offset);
            for (uint256 i; i < count; ++i) {
                VoucherRow row = VoucherRows.rowAt(records, offset + i * VoucherRows.ROW_BYTES);
                (uint96 paid, uint96 royalty) = _claimRow(domain, payee, lane, row);
                if (paid == 0) continue;
                bitmap |= 1 << i;
                sum += paid - royalty;
                royalties += royalty;
            }
        }
        credited = _narrow(sum);
        emit Claimed(payee, lane, bitmap, credited);
        if (royalties != 0) _creditAuthor(Lane.wrap(lane), payee, _narrow(royalties));
    }

    function _claimRow(bytes32 domain, address payee, bytes32 lane, VoucherRow row)
        private
        returns (uint96 paid, uint96 royalty)
    {
        (bytes32 r, bytes32 vs) = row.signature();
        (uint96 cumulative, uint24 epoch) = (row.cumulative(), row.epoch());
        bytes32 digest = Digests.typed(domain, Digests.voucher(payee, lane, cumulative, epoch));
        address key = Signatures.recover(digest, r, vs);
        if (key == address(0)) return (0, 0);
        return _settle(key, payee, lane, epoch, cumulative);
    }

    /* ---------- settlement by quorum ---------- */

    /// @inheritdoc IVault
    function settleQuorum(
        WorkOrder calldata order,
        bytes calldata orderSignature,
        uint64 fuel,
        bytes32 resultsRoot,
        bytes calldata rows,
        uint8 members,
        bytes32[] calldata otherLeafHashes
    ) external returns (uint96 paid) {
        if (block.timestamp > order.settleBy) revert SettleByPassed(order.settleBy);
        if (fuel > order.maxFuel) revert FuelAboveMaximum(fuel, order.maxFuel);
        uint256 count = QuorumRows.checkShape(order.quorum, members, rows.length, otherLeafHashes.length);
        bytes32 domain = DOMAIN_SEPARATOR();
        // Its narrow members are all read in this call, and so checked.
        bytes32 digest = Digests.typed(domain, Digests.hashOfWords(order));
        address payer = Signatures.recover(digest, orderSignature);
        if (payer == address(0)) revert BadSignature();
        (bool right, bytes32 seals) =
            QuorumRows.walk(order.roster, digest, resultsRoot, fuel, members, rows, otherLeafHashes);
        if (!right) revert BadRoster();
        bytes32 result = Digests.typed(domain, Digests.result(digest, resultsRoot, fuel, seals));
        bytes32[] memory credits;
        (credits, paid) = _settleRows(payer, order.royalty, fuel, result, rows, count);
        emit ResultsSettled(digest, payer, resultsRoot, fuel, paid, credits);
    }

    /// @dev Every row's provider signed this very Result; nobody counts twice (SYM-10). A row that cannot be paid
    /// counts, pays nothing and is in nobody's way (SYM-08).
    function _settleRows(
        address payer,
        bytes22 royaltyTerms,
        uint64 fuel,
        bytes32 result,
        bytes calldata rows,
        uint256 count
    ) private returns (bytes32[] memory credits, uint96 paid) {
        credits = new bytes32[](count);
        address last;
        uint256 sum;
        for (uint256 i; i < count; ++i) {
            QuorumRow row = QuorumRows.rowOf(rows, i);
            address payee = row.provider();
            // Ascending from zero, so that zero, which a bad signature recovers to, is never a provider.
            if (payee <= last) revert BadRow(i);
            if (row.signer(result) != payee) revert BadRow(i);
            last = payee;
            uint96 part = _settleRow(payer, payee, royaltyTerms, fuel, row);
            credits[i] = bytes32(bytes20(payee)) | bytes32(uint256(part));
            // unchecked: at most 8 rows of 96 bits.
            unchecked {
                sum += part;
            }
        }
        return (credits, _narrow(sum));
    }

    function _settleRow(address payer, address payee, bytes22 royaltyTerms, uint64 fuel, QuorumRow row)
        private
        returns (uint96 paid)
    {
        Lane lane = LaneLibrary.fromRoyalty(royaltyTerms, row.laneNumber());
        uint96 royalty;
        (paid, royalty) = _settle(payer, payee, Lane.unwrap(lane), row.epoch(), row.total(fuel));
        // unchecked: a royalty is at most its payment.
        unchecked {
            _credit(payee, paid - royalty);
        }
        if (royalty != 0) _creditAuthor(lane, payee, royalty);
    }

    /// @inheritdoc IVault
    function priceOf(uint96 flat, uint96 rate, uint64 fuel) external pure returns (uint256) {
        return QuorumRows.price(flat, rate, fuel);
    }

    /* ---------- stake ---------- */

    /// @inheritdoc IVault
    function stake(uint96 amount) external {
        AccountSlot slot = _unboundCaller();
        uint96 staked = slot.stake() + amount;
        if (staked == 0) revert ZeroAmount();
        uint96 have = slot.balance();
        if (have < amount) revert InsufficientBalance(have, amount);
        accounts[msg.sender].slot = slot.withBalance(have - amount).withStake(staked).withUnbondingAt(0);
        emit Staked(msg.sender, amount);
    }

    /// @inheritdoc IVault
    function requestUnstake() external {
        AccountSlot slot = _unboundCaller();
        if (slot.stake() == 0) revert NoStake(msg.sender);
        if (slot.unbondingAt() != 0) revert StakeLocked(slot.unbondingAt());
        uint40 unbondingAt = uint40(block.timestamp + UNSTAKE_SECS);
        accounts[msg.sender].slot = slot.withUnbondingAt(unbondingAt);
        emit UnstakeRequested(msg.sender, unbondingAt);
    }

    /// @inheritdoc IVault
    function withdrawStake() external returns (uint96 amount) {
        AccountSlot slot = _unboundCaller();
        amount = slot.stake();
        if (amount == 0) revert NoStake(msg.sender);
        uint40 unbondingAt = slot.unbondingAt();
        if (unbondingAt == 0) revert UnstakeNotRequested();
        if (block.timestamp < unbondingAt) revert StakeLocked(unbondingAt);
        accounts[msg.sender].slot = slot.plus(amount).withStake(0).withUnbondingAt(0);
        emit StakeWithdrawn(msg.sender, amount);
    }

    /// @inheritdoc IVault
    function slash(address provider, bytes32 order, address reporter) external returns (uint96 taken, uint96 reward) {
        if (msg.sender != court) revert NotCourt(msg.sender);
        if (isSlashed[provider][order]) revert AlreadySlashed(provider, order);
        AccountSlot slot = accounts[provider].slot;
        taken = slot.stake();
        if (taken == 0) revert NoStake(provider);
        isSlashed[provider][order] = true;
        accounts[provider].slot = slot.withStake(0).withUnbondingAt(0);
        reward = uint96(taken / REWARD_DIVISOR);
        if (reward > MAX_REWARD_BASE) reward = MAX_REWARD_BASE;
        burnedStake += taken - reward;
        _credit(reporter, reward);
        emit Slashed(provider, order, reporter, taken, reward);
    }

    /// @inheritdoc IVault
    function register(bytes calldata peerId, bytes calldata signature, bytes calldata addresses) external {
        if (_unboundCaller().stake() == 0) revert NoStake(msg.sender);
        uint256 length = peerId.length + signature.length + addresses.length;
        if (length > MAX_REGISTRATION_BYTES) revert RegistrationTooLong(length);
        emit ProviderRegistered(msg.sender, peerId, signature, addresses);
    }

    /* ---------- digests ---------- */

    /// @inheritdoc IVault
    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return block.chainid == cachedChainId ? cachedDomain : Digests.domainSeparator(address(this));
    }

    /// @inheritdoc IVault
    function hashVoucher(Voucher calldata voucher) external view returns (bytes32) {
        return _typed(Digests.hash(voucher));
    }

    /// @inheritdoc IVault
    function hashOrder(WorkOrder calldata order) external view returns (bytes32) {
        return _typed(Digests.hash(order));
    }

    /// @inheritdoc IVault
    function hashResult(Result calldata result) external view returns (bytes32) {
        return _typed(Digests.hash(result));
    }

    /// @inheritdoc IVault
    function hashBind(Bind calldata consent) external view returns (bytes32) {
        return _typed(Digests.hash(consent));
    }

    /// @inheritdoc IVault
    function hashRelease(Release calldata consent) external view returns (bytes32) {
        return _typed(Digests.hash(consent));
    }

    /* ---------- inside ---------- */

    /// @dev The caller's account. A bound key may not act (SYM-05a).
    function _unboundCaller() private view returns (AccountSlot slot) {
        slot = accounts[msg.sender].slot;
        if (slot.isBound()) revert KeyIsBound(msg.sender);
    }

    function _ownedKey(address key) private view returns (KeySlot slot) {
        slot = keys[key];
        if (slot.owner() != msg.sender) revert NotKeyOwner(key, msg.sender);
    }

    function _credit(address account, uint96 amount) private {
        if (amount == 0) return;
        Account storage held = accounts[account];
        held.slot = held.slot.plus(amount);
    }

    function _creditAuthor(Lane lane, address payee, uint96 amount) private {
        address author = lane.author();
        _credit(author, amount);
        emit RoyaltyCredited(author, payee, amount);
    }

    function _debit(address account, uint96 amount) private {
        Account storage held = accounts[account];
        AccountSlot slot = held.slot;
        uint96 have = slot.balance();
        if (have < amount) revert InsufficientBalance(have, amount);
        // unchecked: have >= amount was just checked.
        unchecked {
            held.slot = slot.withBalance(have - amount);
        }
    }

    function _typed(bytes32 structHash) private view returns (bytes32) {
        return Digests.typed(DOMAIN_SEPARATOR(), structHash);
    }

    /// @dev A channel lies at its id, a hash of 96 bytes: one hash less a payment than in a mapping, whose slots are
    /// hashes of 64 bytes. Nothing else here is stored at a hash of that length.
    function _channel(address key, address payee, bytes32 lane) private pure returns (Channel storage channel) {
        bytes32 id = Digests.channelId(key, payee, lane);
        // memory-safe: no memory at all. Solidity has no other way to name a slot.
        assembly ("memory-safe") {
            channel.slot := id
        }
    }

    /// @dev A word of `open` and `payMany`: payee (20 bytes), amount (12).
    function _split(bytes32 word) private pure returns (address payee, uint96 amount) {
        return (address(bytes20(word)), uint96(uint256(word)));
    }

    function _narrow(uint256 amount) private pure returns (uint96) {
        if (amount > type(uint96).max) revert AmountTooLarge(amount);
        return uint96(amount);
    }
}
