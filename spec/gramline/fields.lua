-- All fields and expert infos of the dissector: `gramline.NAME` in a display filter. Fields of messages are
-- `gramline.msg.NAME`, one for each name in messages.lua.

local messages = ...
if type(messages) ~= 'table' then return end -- Wireshark tries every file of a plugin folder by itself.

local PACKETS = { 'HELLO', 'COOKIE', 'WELCOME', 'REFUSED', 'SEALED', 'SEGMENT' }
local FRAMES = {
  [0] = 'PADDING', 'PING', 'ACK', 'CLOSE', 'QUERY', 'REPLY', 'NOTICE', 'CREDIT', 'RESEND', 'STOP', 'RESET',
}
local SPACES = { [0] = 'control', 'segments' }
local ENCODINGS = { [0] = 'stored', 'LZ4' }
local QUERY_NAMES, NOTICE_NAMES = {}, {}
for kind, query in pairs(messages.queries) do QUERY_NAMES[kind] = query[1] end
for kind, notice in pairs(messages.notices) do NOTICE_NAMES[kind] = notice[1] end

local f = {}
local function field(name, type, title, ...)
  f[name] = ProtoField[type]('gramline.' .. name, title, ...)
end
field('type', 'uint8', 'Packet', base.HEX, PACKETS)
field('flags', 'uint8', 'Flags', base.HEX)
field('has_cookie', 'bool', 'Has a cookie', 8, nil, 1)
field('epoch_bits', 'uint8', 'Epoch modulo 4', base.DEC, nil, 3)
field('length', 'uint16', 'Length')
field('magic', 'string', 'Magic')
field('version', 'uint8', 'Version')
field('secret_id', 'bytes', 'Secret id')
field('tag', 'bytes', 'Tag')
field('cookie', 'bytes', 'Cookie')
field('cluster', 'bytes', 'Cluster id')
field('noise', 'bytes', 'Noise message')
field('ephemeral', 'bytes', 'Ephemeral public key')
field('mac', 'bytes', 'MAC')
field('code', 'uint8', 'Code', base.DEC, messages.results)
field('retry_ms', 'uint16', 'Retry (ms)')
field('number', 'uint64', 'Packet number')
field('sealed', 'bytes', 'Ciphertext and tag')
field('flow', 'uint32', 'Flow id')
field('record', 'uint32', 'Record number')
field('offset', 'uint32', 'Offset in the sealed record')
field('record_length', 'uint32', 'Length of the sealed record')
field('slice', 'bytes', 'Slice of the sealed record')
field('epoch', 'uint32', 'Epoch')
field('record_frame', 'framenum', 'Record is whole in')
field('query_of_flow', 'string', 'Flow of')
field('record_encoding', 'uint8', 'Encoding', base.DEC, ENCODINGS)
field('record_offset', 'uint64', 'Offset in the flow')
field('data_left', 'int64', 'dataLeft')
field('plain_length', 'uint32', 'Plain length')
field('payload', 'bytes', 'Payload')
field('frame', 'uint8', 'Frame', base.HEX, FRAMES)
field('padding', 'uint32', 'Bytes of padding')
field('ack_space', 'uint8', 'Space', base.DEC, SPACES)
field('ack_delay', 'uint32', 'Delay (us)')
field('ack_count', 'uint8', 'Range count')
field('ack_largest', 'uint64', 'Largest number')
field('ack_first', 'uint32', 'Length of the first range, less one')
field('ack_gap', 'uint32', 'Gap, less one')
field('ack_length', 'uint32', 'Length, less one')
field('close_code', 'uint16', 'Code', base.DEC, messages.close_codes)
field('close_text', 'string', 'Text')
field('query_id', 'uint32', 'Query id')
field('query', 'uint8', 'Query', base.DEC, QUERY_NAMES)
field('reply_to', 'string', 'Reply to')
field('query_frame', 'framenum', 'Query in')
field('notice', 'uint8', 'Notice', base.DEC, NOTICE_NAMES)
field('body_length', 'uint16', 'Body length')
field('body', 'bytes', 'Body')
field('credit_limit', 'uint64', 'Limit')
field('credit_opened', 'uint64', 'Opened')
field('credit_complete', 'uint8', 'Complete')

-- One field for each name in the messages.
local FIELD_TYPES = {
  u8 = 'uint8', u16 = 'uint16', u32 = 'uint32', u48 = 'uint64', flag = 'uint8', bytes = 'bytes', text = 'string',
  optional = 'uint8', by_code = 'uint8', data = 'bytes',
}
local function declare(layout)
  for _, entry in ipairs(layout or {}) do
    local name, type, title, detail = entry[1], entry[2], entry[3], entry[4]
    if FIELD_TYPES[type] and not f['msg.' .. name] then
      local names = type == 'u8' and detail or type == 'by_code' and messages.results or nil
      if names then field('msg.' .. name, FIELD_TYPES[type], title, base.DEC, names)
      else field('msg.' .. name, FIELD_TYPES[type], title) end
    end
    if type == 'list' or type == 'optional' then declare(detail) end
    if type == 'by_code' then for _, inner in pairs(detail) do declare(inner) end end
  end
end
for _, query in pairs(messages.queries) do declare(query[2]) declare(query[3]) end
for code = 1, 14 do declare(messages.reply_layout(nil, code)) end
for _, notice in pairs(messages.notices) do declare(notice[2]) end

local group, severity = expert.group, expert.severity
local e = {
  layout = ProtoExpert.new('gramline.damaged', 'Damaged', group.MALFORMED, severity.ERROR),
  seal = ProtoExpert.new('gramline.unsealed', 'The seal does not hold', group.CHECKSUM, severity.ERROR),
  frames = ProtoExpert.new('gramline.bad_frames', 'Frames do not decode', group.MALFORMED, severity.ERROR),
  body = ProtoExpert.new('gramline.bad_body', 'The body does not decode', group.MALFORMED, severity.WARN),
  key = ProtoExpert.new('gramline.no_key', 'No key', group.DECRYPTION, severity.CHAT),
  cut = ProtoExpert.new('gramline.cut', 'Not captured whole', group.UNDECODED, severity.NOTE),
}

return { fields = f, experts = e, packets = PACKETS, frames = FRAMES, queries = QUERY_NAMES, notices = NOTICE_NAMES }
