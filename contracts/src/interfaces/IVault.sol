// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice A cumulative promise of a payer key to one payee, EIP-712 signed.
/// @param payee Who is credited.
/// @param lane The channel's lane: author (20 bytes), basis points (2), number (10).
/// @param cumulative Absolute total of the epoch, in base units of the vault's token.
/// @param epoch The channel's epoch the total belongs to.
struct Voucher {
    address payee;
    bytes32 lane;
    uint96 cumulative;
    uint24 epoch;
}

/// @notice A batch of work given to the same replicas, signed by the payer key.
/// @param work Struct hash of what the chain need not know (see docs/protocol.md).
/// @param royalty Author (20 bytes) and basis points (2): the upper part of every member's lane.
/// @param roster keccak256 of the leaf hashes in order, at most 8 leaves.
/// @param quorum How many equal results settle the order.
/// @param maxFuel The most fuel the order may be billed for.
/// @param settleBy The last second at which a quorum may settle it.
struct WorkOrder {
    bytes32 work;
    bytes22 royalty;
    bytes32 roster;
    uint8 quorum;
    uint64 maxFuel;
    uint40 settleBy;
}

/// @notice What one replica attests, EIP-712 signed by the provider.
/// @param order Full EIP-712 digest of the WorkOrder.
/// @param resultsRoot Salted Merkle root over the workunits' results.
/// @param fuel Sum of the fuel of the order's workunits.
/// @param seals keccak256 of the concatenated seals of exactly the replicas settled with, in row order.
struct Result {
    bytes32 order;
    bytes32 resultsRoot;
    uint64 fuel;
    bytes32 seals;
}

/// @notice A key's consent to be bound to `owner` for ever, EIP-712 signed by the key.
struct Bind {
    address owner;
}

/// @notice A payee's consent to close an epoch before the channel's expiry, EIP-712 signed by the payee.
struct Release {
    address payer;
    bytes32 lane;
    uint24 epoch;
}

/// @notice Earmarks for one lane: each word is payee (20 bytes) and amount (12 bytes).
struct Earmarks {
    bytes32 lane;
    bytes32[] words;
}

/// @notice One row of a release: after the expiry the signature may be empty.
struct Closing {
    address payee;
    bytes signature;
}

/// @title Vault
/// @notice Holds requestors' deposits and providers' stakes in one ERC-20 and pays on signed instruments.
/// No owner, no admin key, no pause, no upgrade: see docs/protocol.md for the numbered requirements.
interface IVault {
    /* ---------- events ---------- */

    /// @notice The token's own log says who paid.
    event Deposited(address indexed account, uint96 amount);
    /// @notice By `withdraw`. A claim that names `payTo` pays the whole balance out, which the token's own log shows...
    event Withdrawn(address indexed account, address indexed to, uint96 amount);
    /// @notice ...unless this one says that the transfer failed and `amount` is the account's balance.
    event PayoutFailed(address indexed account, address indexed to, uint96 amount);
    event Bound(address indexed owner, address indexed key);
    event Revoked(address indexed owner, address indexed key);
    /// @notice Earmarks opened or topped up: `words` as in Earmarks, `expiry` the value asked for.
    event Opened(address indexed key, bytes32 indexed lane, uint40 expiry, bytes32[] words);
    /// @notice One header of a claim: bit i of `paid` is set when row i moved `claimed`. `credited` is the
    /// payee's part, net of royalty. One event for every header, also when nothing in it paid.
    event Claimed(address indexed payee, bytes32 lane, uint256 paid, uint96 credited);
    /// @notice `epoch` is the one that ended; `refund` went to the key's owner.
    event Released(address indexed key, address indexed payee, bytes32 indexed lane, uint24 epoch, uint96 refund);
    event PaidMany(address indexed from, bytes32[] words);
    /// @notice An order settled by quorum. Each word of `credits` is one replica, in row order: payee (20 bytes) and
    /// what its channel paid (12 bytes), gross of royalty, zero if its row could not be paid.
    event ResultsSettled(
        bytes32 indexed order, address indexed payer, bytes32 resultsRoot, uint64 fuel, uint96 paid, bytes32[] credits
    );
    event RoyaltyCredited(address indexed author, address indexed payee, uint96 amount);
    event Staked(address indexed provider, uint96 amount);
    event UnstakeRequested(address indexed provider, uint40 unbondingAt);
    event StakeWithdrawn(address indexed provider, uint96 amount);
    event Slashed(
        address indexed provider, bytes32 indexed order, address indexed reporter, uint96 stake, uint96 reward
    );
    /// @notice `signature` is the peer id's own over the provider's address: checked by readers, not by the chain.
    event ProviderRegistered(address indexed provider, bytes peerId, bytes signature, bytes addresses);

    /* ---------- errors ---------- */

    error InsufficientBalance(uint96 have, uint96 need);
    error AmountTooLarge(uint256 amount);
    error VaultFull(uint256 wouldHold);
    error TokenTransferFailed();
    /// @notice The token called back into a function that calls the token (SYM-02).
    error Reentered();
    error ZeroAddress();
    error ZeroAmount();
    error NotKeyOwner(address key, address caller);
    error KeyIsBound(address key);
    error KeyIsRevoked(address key);
    error KeyCannotBeBound(address key);
    error BadSignature();
    error BadLane(bytes32 lane);
    error ExpiryTooFar(uint40 expiry, uint40 latest);
    error ExpiryPassed(uint40 expiry);
    error AllocationTooLarge(address payee);
    error NotExpired(address payee, uint40 expiry);
    error EpochExhausted(address payee);
    error BadRecords(uint256 offset);
    error QuorumTooSmall(uint8 quorum);
    error TooManyReplicas(uint256 replicas);
    error QuorumNotMajority(uint8 quorum, uint256 replicas);
    error NotEnoughRows(uint256 rows, uint8 quorum);
    error BadRoster();
    error BadRow(uint256 row);
    error SettleByPassed(uint40 settleBy);
    error FuelAboveMaximum(uint64 fuel, uint64 maxFuel);
    error NoStake(address provider);
    error StakeLocked(uint40 unbondingAt);
    error UnstakeNotRequested();
    error NotCourt(address caller);
    error AlreadySlashed(address provider, bytes32 order);
    error RegistrationTooLong(uint256 length);

    /* ---------- immutable facts ---------- */

    function token() external view returns (address);
    function court() external view returns (address);
    function DOMAIN_SEPARATOR() external view returns (bytes32);

    /* ---------- accounts ---------- */

    function accountOf(address account) external view returns (uint96 balance, uint96 stake, uint40 unbondingAt);
    function ownerOfKey(address key) external view returns (address owner, bool revoked);
    function burnedStake() external view returns (uint96);

    /// @notice Pulls tokens from the caller and credits what arrived to the beneficiary.
    function deposit(address beneficiary, uint96 amount) external returns (uint96 credited);
    /// @notice The same with an EIP-2612 permit of the caller; a failing permit is ignored if the allowance suffices.
    function depositWithPermit(address beneficiary, uint96 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        returns (uint96 credited);
    /// @notice Pays out from the caller's account, or from that of a key the caller owns.
    function withdraw(address account, address to, uint96 amount) external;
    /// @notice Gives away parts of the caller's balance: each word is payee (20 bytes) and amount (12).
    function payMany(bytes32[] calldata words) external;

    /// @notice Makes the caller the key's owner for ever; the key signed Bind with the caller as owner.
    function bind(address key, bytes calldata signature) external;
    /// @notice Ends new earmarks for a key of the caller's; existing ones stay good.
    function revoke(address key) external;

    /* ---------- channels ---------- */

    function channelId(address key, address payee, bytes32 lane) external pure returns (bytes32);
    function channelOf(address key, address payee, bytes32 lane)
        external
        view
        returns (uint96 allocated, uint96 claimed, uint24 epoch, uint40 expiry);

    /// @notice Earmarks parts of the caller's balance, or tops up. `key` is the caller or a key it owns. An amount of
    /// zero only extends. Nothing may be earmarked in the last epoch (EpochExhausted), which cannot be released.
    function open(address key, uint40 expiry, Earmarks[] calldata earmarks) external;
    /// @notice Takes back what is left of channels that expired or whose payee signed a Release.
    function release(address key, bytes32 lane, Closing[] calldata rows) external returns (uint96 refund);

    /// @notice Claims for the caller. Records: repeated lane (32), count (1), count x
    /// [compact signature (64), cumulative (12), epoch (3)]. `payTo` non-zero pays the whole balance out; if the token's
    /// transfer fails, the credit stays.
    function claim(bytes calldata records, address payTo) external returns (uint96 credited);
    /// @notice Claims for others. Records: repeated payee (20), lane (32), count (1), count x 79 bytes as in `claim`.
    function claimFor(bytes calldata records) external returns (uint96 credited);

    /// @notice Settles an order by a quorum of equal signed Results, without the requestor.
    /// @param orderSignature The payer key's compact signature (r, vs; EIP-2098).
    /// @param rows Packed: leaf (61: provider 20, owed 12, flat 12, rate 12, epoch 3, lane number 2),
    /// nonce (32), compact signature (64); 157 bytes a row.
    /// @param members Bit i set: leaf i of the roster is a row; clear: its hash is next in `otherLeafHashes`.
    function settleQuorum(
        WorkOrder calldata order,
        bytes calldata orderSignature,
        uint64 fuel,
        bytes32 resultsRoot,
        bytes calldata rows,
        uint8 members,
        bytes32[] calldata otherLeafHashes
    ) external returns (uint96 paid);

    /* ---------- stake ---------- */

    /// @notice Moves balance into the stake and cancels a running timer; zero only cancels.
    function stake(uint96 amount) external;
    /// @notice Starts the timer for the whole stake; reverts StakeLocked while one runs.
    function requestUnstake() external;
    /// @notice After the timer, credits the whole stake to the caller's balance.
    function withdrawStake() external returns (uint96 amount);
    /// @notice For the court alone: takes the whole stake, once for one order.
    function slash(address provider, bytes32 order, address reporter) external returns (uint96 taken, uint96 reward);
    function isSlashed(address provider, bytes32 order) external view returns (bool);
    /// @notice Announces a provider; it must have a stake. At most 1,024 bytes in all.
    function register(bytes calldata peerId, bytes calldata signature, bytes calldata addresses) external;

    /* ---------- digests, for any client to check itself against ---------- */

    function hashVoucher(Voucher calldata voucher) external view returns (bytes32);
    function hashOrder(WorkOrder calldata order) external view returns (bytes32);
    function hashResult(Result calldata result) external view returns (bytes32);
    function hashBind(Bind calldata consent) external view returns (bytes32);
    function hashRelease(Release calldata consent) external view returns (bytes32);
    function priceOf(uint96 flat, uint96 rate, uint64 fuel) external pure returns (uint256);
}
