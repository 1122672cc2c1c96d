-- Names and layouts of what frames carry, as 06-messages.md has them: data only, read by frames.lua.
--
-- A layout is a list of fields in their order. A field is { name, type, title, ... }:
--   u8 u16 u32 u48          big-endian integers; with names, { name, type, title, names }
--   flag                    one byte, 0 or 1
--   bytes                   { name, 'bytes', title, count }
--   text                    a length byte, then UTF-8
--   data                    { name, 'data', title, most bytes }: two bytes of length, then as many
--   list                    { name, 'list', title, layout of an item }: a count byte, then the items
--   optional                { name, 'optional', title, layout }: a flag, then the layout if it is 1
--   by_code                 { name, 'by_code', title, { [code] = layout } }: a result code, then its layout

local RESULTS = {
  [0] = 'OK', 'CONFLICT', 'NO_SPACE', 'NOT_FOUND', 'NOT_LEADER', 'DENIED', 'STALE_EPOCH', 'BUSY', 'CORRUPT',
  'EXPIRED', 'ABORTED', 'MALFORMED', 'UNSUPPORTED', 'IO', 'TAMPERED',
}
local CLOSE_CODES = { [0] = 'NORMAL', 'PROTOCOL', 'LIMIT', 'SHUTDOWN', 'DENIED', 'INTERNAL' }
local REPAIR = { [0] = 'not known', 'all is known', 'more may be found' }
local NODE_STATES = { [0] = 'up', 'down', 'up, takes no new objects', 'failed', 'draining', 'collected' }
local SETTLEMENTS = { [0] = 'wait', 'keep', 'drop' }

local hash = { 'hash', 'bytes', 'Hash', 32 }
local token = { 'token', 'bytes', 'Token', 8 }
local node_id = { 'node_id', 'bytes', 'Node id', 16 }
local receipt = { 'receipt', 'bytes', 'Receipt', 16 }
local proof = { 'proof', 'bytes', 'Proof', 32 }
local revision = { 'revision', 'u48', 'Catalog revision' }
local size = { 'size', 'u48', 'Object size' }
local address = { 'address', 'text', 'Address' }
local name = { 'name', 'text', 'Name' }
local free = { 'free_bytes', 'u48', 'Free bytes' }
local quota = { 'quota_bytes', 'u48', 'Quota bytes' }
local objects = { 'objects', 'u48', 'Objects' }
local offload = { 'offload', 'flag', 'Offload' }
local draining = { 'draining', 'flag', 'Draining' }
local stale = { 'stale', 'flag', 'Stale' }
local full = { 'full', 'flag', 'Full' }
local state = { 'state', 'u8', 'State', NODE_STATES }
local incarnation = { 'incarnation', 'u48', 'Incarnation' }
local entries = { 'entries', 'u48', 'Entries' }
local replicas = { 'replicas', 'u8', 'Replicas' }
local lease = { 'lease_ms', 'u32', 'Lease (ms)' }
local wait = { 'wait_ms', 'u32', 'Wait (ms)' }
local fencing = { 'fencing', 'u48', 'Fencing token' }
-- By which a lock or a user session is held.
local holder = { 'token', 'bytes', 'Token', 16 }
local user_session = { 'user_session', 'bytes', 'User session', 16 }
local number = { 'number', 'u48', 'Number of the write' }
local data = { 'data', 'data', 'Data', 640 }
local retry = { 'retry_ms', 'u32', 'Retry after (ms)' }
local locations = { 'location', 'list', 'Locations', { node_id, address } }

local EMPTY = {}

-- What a query of each kind asks, and what its reply says when the code is OK.
local QUERIES = {
  [1] = {
    'STATUS',
    { { 'cursor', 'u32', 'Cursor' } },
    {
      revision, stale, objects, { 'bytes', 'u48', 'Bytes' }, { 'nodes_total', 'u32', 'Nodes in all' },
      { 'repair', 'u8', 'Repair', REPAIR }, { 'missing', 'u32', 'Objects that lack replicas' },
      { 'copying', 'u32', 'Objects being copied or checked' }, { 'surplus', 'u32', 'Objects with surplus replicas' },
      { 'coordinator', 'list', 'Coordinators', {
        address, { 'leads', 'flag', 'Leads' }, { 'answers', 'flag', 'Answers' }, offload,
      } },
      { 'node', 'list', 'Nodes', { node_id, name, address, state, quota, free, objects, offload } },
    },
  },
  [2] = {
    'WHERE_TO',
    { token, size, replicas, { 'has_hash', 'optional', 'Has hash', { hash } } },
    { lease, revision, locations },
  },
  [3] = { 'WHERE_IS', { hash }, { size, revision, stale, locations } },
  [4] = {
    'COMMIT',
    { token, hash, size, replicas, { 'receipts', 'list', 'Receipts', { node_id, receipt } } },
    { revision },
  },
  [5] = { 'RELEASE', { token }, EMPTY },
  [6] = { 'RENEW', { token }, EMPTY },
  [7] = { 'REMOVE', { token, hash }, EMPTY },
  [8] = {
    'JOIN',
    { node_id, incarnation, name, address, quota, free, offload, draining },
    { { 'nonce', 'bytes', 'Nonce', 32 } },
  },
  [9] = { 'ADMIT', { proof }, { { 'cluster', 'bytes', 'Cluster id', 16 }, address, proof } },
  [10] = { 'INVENTORY', { entries, { 'buckets', 'bytes', 'Buckets', 8 } }, EMPTY },
  [11] = {
    'SETTLE',
    { { 'entry', 'list', 'Entries', { token, hash } } },
    { { 'settlements', 'list', 'Settlements', { { 'settlement', 'u8', 'Settlement', SETTLEMENTS } } } },
  },
  [12] = { 'CORRUPT', { hash }, EMPTY },
  [13] = {
    'WHERE_IS_MANY',
    { { 'hashes', 'list', 'Hashes', { hash } } },
    {
      revision, stale, locations,
      { 'answers', 'list', 'Answers', { { 'answer', 'by_code', 'Answer', {
        [0] = { size, { 'indices', 'list', 'Replicas', { { 'index', 'u8', 'Index of location' } } } },
        [3] = EMPTY,
        [7] = { retry },
        [8] = EMPTY,
      } } } },
    },
  },
  [14] = {
    'MEMBERS',
    { { 'after', 'u48', 'After the change' }, { 'after_id', 'bytes', 'After the node', 16 }, wait },
    {
      revision, full,
      { 'member', 'list', 'Members', {
        { 'changed', 'u48', 'Changed at' }, node_id, incarnation, state, name, address,
      } },
    },
  },
  [15] = {
    'DIGEST',
    { entries, { 'digests', 'bytes', 'Digests', 512 } },
    { { 'differs', 'bytes', 'Buckets that differ', 8 } },
  },
  [16] = {
    'LOCK',
    { name, holder, { 'shared', 'flag', 'Shared' }, lease, wait },
    { { 'held', 'flag', 'Held' }, fencing, lease, { 'ahead', 'u32', 'Places ahead' } },
  },
  [17] = { 'UNLOCK', { name, holder, fencing }, EMPTY },
  [18] = {
    'SESSION_WRITE',
    { user_session, holder, number, { 'lifetime_s', 'u32', 'Lifetime (s)' }, data },
    EMPTY,
  },
  [19] = {
    'SESSION_READ',
    { user_session, holder },
    { number, { 'remaining_s', 'u32', 'Remaining (s)' }, stale, data },
  },
  [20] = { 'SESSION_END', { user_session, holder }, EMPTY },
  [32] = { 'STORE', { token, size }, { hash, receipt } },
  [33] = {
    'READ',
    {
      hash, { 'offset', 'u48', 'Offset' }, { 'length', 'u48', 'Length (0: to the end)' },
      { 'credit_bytes', 'u48', 'Credit bytes' }, { 'record_bytes', 'u32', 'Record bytes' },
    },
    { size },
  },
  [34] = { 'DELETE', { hash }, EMPTY },
  [35] = { 'COPY', { token, hash, size, locations }, { hash, receipt } },
}

-- Bodies of replies that are not OK, by code; those of other codes are empty.
local FAILURES = {
  [4] = { { 'epoch', 'u48', 'Epoch of the leader' }, address },
  [2] = { free, { 'nodes_up', 'u16', 'Nodes up' } },
  [7] = { retry },
}
-- Codes whose body may be missing.
local BARE = { [4] = true, [7] = true }

local NOTICES = {
  [1] = { 'LOAD', { free, objects, full } },
}

-- The body of a reply, or nil where there is no layout for it; and whether it may be missing.
local function reply_layout(kind, code)
  if code == 0 then return QUERIES[kind] and QUERIES[kind][3] end
  -- A repeated COMMIT is answered with the revision, too.
  if code == 1 and kind == 4 then return { revision } end
  return FAILURES[code] or EMPTY, BARE[code]
end

return {
  results = RESULTS,
  close_codes = CLOSE_CODES,
  queries = QUERIES,
  notices = NOTICES,
  reply_layout = reply_layout,
}
