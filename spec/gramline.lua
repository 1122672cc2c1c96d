-- Wireshark dissector of the Gramline protocol, version 1: names every packet and shows what is not encrypted.
-- With a key log (09-tools.md) it opens SEALED packets, and the records that SEGMENT packets bring.
--
--   tshark -X lua_script:spec/gramline.lua -r capture.pcapng -O gramline
--   tshark -X lua_script:spec/gramline.lua -o gramline.keylog:keys.log -r capture.pcapng
--
-- For good: copy this file and the folder gramline/ beside it into Wireshark's folder of personal Lua plugins.
-- Sessions use random ports, so packets are known by their shape. Written for Wireshark 4.0.

local HERE = debug.getinfo(1, 'S').source:match('^@?(.*[/\\])') or ''
local function part(name, ...)
  return assert(loadfile(HERE .. 'gramline/' .. name .. '.lua'))(...)
end
local gcm = part('aesgcm')
local messages = part('messages')
local declared = part('fields', messages)
local frames = part('frames', declared, messages)
local keys = part('keys', gcm)
local f, e = declared.fields, declared.experts

local HELLO, COOKIE, WELCOME, REFUSED, SEALED, SEGMENT = 1, 2, 3, 4, 5, 6
local MAGIC = 'GRML'
local SECRET_ID_BYTES, TAG_BYTES, SEAL_BYTES, MAC_BYTES, COOKIE_BYTES, KEY_BYTES = 8, 8, 16, 16, 24, 32
local PREFIX_BYTES, SEALED_HEADER_BYTES, SEGMENT_HEADER_BYTES, RECORD_HEADER_BYTES = 4, 18, 34, 19
local PACKET_BYTES_MAX, SEALED_RECORD_BYTES_MAX = 65507, 65571
-- Packets of one datagram that the Info column names one by one.
local INFO_PACKETS_MAX = 4
-- Slices kept of a record, and records under way.
local SLICES_MAX, RECORDS_OPEN_MAX = 4096, 4096
local MIB = 1024 * 1024

local gramline = Proto('gramline', 'Gramline')
for _, one in pairs(f) do table.insert(gramline.fields, one) end
for _, one in pairs(e) do table.insert(gramline.experts, one) end

local RECORDS_WHOLE, RECORDS_HEADER = 1, 2
gramline.prefs.port = Pref.uint('Front port', 7400, 'UDP port on which coordinators and nodes answer HELLO')
gramline.prefs.keylog = Pref.string('Key log', '', 'File that GRAMLINE_KEYLOG named when the capture was made')
gramline.prefs.records = Pref.enum('Records', RECORDS_WHOLE, 'How far the records of flows are opened', {
  { 1, 'whole (64 KiB take 0.1 s)', RECORDS_WHOLE },
  { 2, 'header (unchecked)', RECORDS_HEADER },
  { 3, 'closed', 3 },
}, false)
gramline.prefs.kept = Pref.uint('Kept', 256, 'MiB of opened records that are kept for a second look; of others the header')

-- ---------------------------------------------------------------- what is known of the capture

-- A packet's id is its frame of the capture and its place there. What the first look found serves the next.
local sessions, epochs, slices, records, under_way, kept_bytes

function gramline.init()
  sessions, epochs, slices, records, kept_bytes = {}, {}, {}, {}, 0
  under_way = { first = 1, last = 0 }
  local trouble = keys.open(gramline.prefs.keylog)
  if trouble then report_failure('gramline: the key log cannot be read: ' .. trouble) end
end

-- Both directions between two endpoints, and the queries between them.
local function session_of(pinfo)
  local one = tostring(pinfo.src) .. ' ' .. pinfo.src_port
  local other = tostring(pinfo.dst) .. ' ' .. pinfo.dst_port
  local name = one < other and one .. ' ' .. other or other .. ' ' .. one
  sessions[name] = sessions[name] or { queries = {}, replies = {}, known = false }
  return sessions[name]
end

-- ---------------------------------------------------------------- front packets

local read_packet = {}

read_packet[HELLO] = function(c, tree)
  tree:add(f.has_cookie, c.tvb:range(1, 1))
  local magic = c:take(#MAGIC)
  tree:add(f.magic, magic)
  local version = c:number(tree, 'version', 1)
  c:bytes(tree, 'secret_id', SECRET_ID_BYTES)
  c:bytes(tree, 'tag', TAG_BYTES)
  c:bytes(tree, 'cookie', COOKIE_BYTES)
  local noise = c.stop - c.at - MAC_BYTES
  if noise > 0 then
    local item = tree:add(f.noise, c:take(noise))
    if noise >= KEY_BYTES then item:add(f.ephemeral, c.tvb:range(c.at - noise, KEY_BYTES)) end
  end
  c:bytes(tree, 'mac', MAC_BYTES)
  return ('version %d%s'):format(version, noise > 0 and ', cookie' or '')
end

read_packet[COOKIE] = function(c, tree)
  c:bytes(tree, 'tag', TAG_BYTES)
  c:bytes(tree, 'cookie', COOKIE_BYTES)
  c:bytes(tree, 'cluster', 16)
  c:bytes(tree, 'mac', MAC_BYTES)
end

read_packet[WELCOME] = function(c, tree)
  c:bytes(tree, 'tag', TAG_BYTES)
  local noise = c.stop - c.at - MAC_BYTES
  local item = tree:add(f.noise, c:take(noise))
  item:add(f.ephemeral, c.tvb:range(c.at - noise, KEY_BYTES))
  c:bytes(tree, 'mac', MAC_BYTES)
end

read_packet[REFUSED] = function(c, tree)
  c:bytes(tree, 'tag', TAG_BYTES)
  local code = c:number(tree, 'code', 1)
  c:number(tree, 'retry_ms', 2)
  c:bytes(tree, 'mac', MAC_BYTES)
  return messages.results[code] or tostring(code)
end

-- ---------------------------------------------------------------- SEALED

local ZERO4, ZERO2 = ('\0'):rep(4), ('\0'):rep(2)

-- The plaintext and the epoch of a SEALED packet, or nil when no key opens it. Opened once, it takes one try.
local function open_control(id, tag, epoch_bits, packet)
  local nonce = ZERO4 .. ZERO2 .. packet:sub(13, SEALED_HEADER_BYTES)
  local header, sealed = packet:sub(1, SEALED_HEADER_BYTES), packet:sub(SEALED_HEADER_BYTES + 1)
  local attempt = function(aead) return gcm.open(aead, nonce, header, sealed) end
  if epochs[id] then return attempt(keys.cipher(tag, epochs[id], 'control')), epochs[id] end
  local plain, epoch = keys.try(tag, epoch_bits, 'control', attempt)
  epochs[id] = epoch or false
  return plain, epoch
end

read_packet[SEALED] = function(c, tree, pinfo, id)
  tree:add(f.epoch_bits, c.tvb:range(1, 1))
  local tag = c:bytes(tree, 'tag', TAG_BYTES):bytes():tohex(true)
  local number = c:number(tree, 'number', 6)
  local sealed = c:bytes(tree, 'sealed', c.stop - c.at)
  local epoch_bits = c.tvb:range(1, 1):uint()
  if not keys.has(tag) then
    if gramline.prefs.keylog ~= '' then
      tree:add_proto_expert_info(e.key, 'The key log has no key for this tag')
    end
    return number
  end
  local plain, epoch
  if epochs[id] ~= false then plain, epoch = open_control(id, tag, epoch_bits, c.tvb:raw()) end
  if not plain then
    tree:add_proto_expert_info(e.seal, 'The seal does not hold: damaged, forged, or its key is not in the log')
    return number .. ' does not open'
  end
  tree:add(f.epoch, sealed, epoch):set_generated()
  if #plain == 0 then
    tree:add_proto_expert_info(e.frames, 'no frame')
    return number
  end
  local tvb = ByteArray.new(plain, true):tvb('Frames of packet ' .. number)
  return number .. ': ' .. table.concat(frames.read(tvb, tree, pinfo, session_of(pinfo)), ', ')
end

-- ---------------------------------------------------------------- SEGMENT and records

-- Whether the slices of a record cover it.
local function is_whole(record)
  if record.bytes < record.length then return false end
  table.sort(record.slices, function(left, right) return left.offset < right.offset end)
  local at = 0
  for _, slice in ipairs(record.slices) do
    if slice.offset > at then return false end
    at = math.max(at, slice.offset + #slice.text)
  end
  return at == record.length
end

-- The record as sealed, from slices that are in order and may overlap.
local function joined(record)
  local parts, at = {}, 0
  for _, slice in ipairs(record.slices) do
    local text = slice.text:sub(at - slice.offset + 1)
    parts[#parts + 1] = text
    at = at + #text
  end
  return table.concat(parts)
end

-- The record under `key`, which a slice belongs to; the oldest one under way makes room.
local function record_at(key, length)
  local record = records[key]
  -- Other lengths, too many slices, or a record that did not open: it starts anew.
  if record and record.length == length and #record.slices < SLICES_MAX and not record.failed then return record end
  record = { length = length, slices = {}, bytes = 0 }
  records[key] = record
  under_way.last = under_way.last + 1
  under_way[under_way.last] = record
  if under_way.last - under_way.first >= RECORDS_OPEN_MAX then
    under_way[under_way.first].slices = {}
    under_way[under_way.first] = nil
    under_way.first = under_way.first + 1
  end
  return record
end

-- Opens a record: `text` is all of it, or in header mode what there is of its start.
local function open_record(record, tag, epoch_bits, nonce, text)
  record.plain, record.epoch = keys.try(tag, epoch_bits, 'record', function(aead)
    if gramline.prefs.records == RECORDS_WHOLE then return gcm.open(aead, nonce, '', text) end
    local header = gcm.peek(aead, nonce, text, RECORD_HEADER_BYTES)
    -- Unchecked, but a wrong key would hardly give a known encoding and a plain length in range.
    local encoding, length = header:byte(1), header:byte(16) * 0x1000000 + header:byte(17) * 0x10000
    return encoding <= 1 and length <= 0x10000 and header or nil
  end)
  record.failed = record.plain == nil
end

-- After the first look: the plaintext of a record is kept while there is room for it.
local function keep(record)
  if record.is_kept then return end
  record.is_kept = true
  if kept_bytes + #record.plain > gramline.prefs.kept * MIB then
    record.plain = record.plain:sub(1, RECORD_HEADER_BYTES)
  end
  kept_bytes = kept_bytes + #record.plain
end

-- Takes the slice of packet `id` in; the record that it belongs to.
local function take_slice(id, pinfo, key, length, offset, text, open)
  local record = record_at(key, length)
  if record.id then return record end
  local is_header_mode = gramline.prefs.records ~= RECORDS_WHOLE
  if offset == 0 and (#text == length or is_header_mode and #text >= RECORD_HEADER_BYTES) then
    open(record, text)
  elseif not is_header_mode then
    record.slices[#record.slices + 1] = { offset = offset, text = text }
    record.bytes = record.bytes + #text
    if is_whole(record) then open(record, joined(record)) end
  end
  if record.plain or record.failed then record.id, record.frame, record.slices = id, pinfo.number, {} end
  return record
end

local function show_record(record, tree)
  local tvb = ByteArray.new(record.plain, true):tvb('Record')
  local inner = tree:add(tvb:range(0), ('Record, %d bytes sealed'):format(record.length))
  inner:add(f.epoch, tvb:range(0, 0), record.epoch):set_generated()
  local c = frames.cursor(tvb, 0, tvb:len())
  local text
  frames.guarded(inner, e.frames, function()
    local encoding = c:number(inner, 'record_encoding', 1)
    local offset = c:number(inner, 'record_offset', 6)
    local left = c:take(8)
    inner:add(f.data_left, left)
    local length = c:number(inner, 'plain_length', 4)
    if encoding > 1 or length > 0x10000 then frames.bad('encoding or plain length of a record') end
    local payload = tvb:len() - c.at
    if payload > 0 then
      if encoding == 0 and payload ~= length then frames.bad('a stored record has another length') end
      c:bytes(inner, 'payload', payload)
    elseif length > 0 then
      inner:append_text(', payload not kept')
    end
    text = ('%d bytes at %d, %s left'):format(length, offset, tostring(left:int64()))
  end)
  return text
end

read_packet[SEGMENT] = function(c, tree, pinfo, id)
  tree:add(f.epoch_bits, c.tvb:range(1, 1))
  local tag_range = c:bytes(tree, 'tag', TAG_BYTES)
  local number = c:number(tree, 'number', 6)
  local flow, record_number = c:number(tree, 'flow', 4), c:number(tree, 'record', 4)
  local offset, length = c:number(tree, 'offset', 4), c:number(tree, 'record_length', 4)
  local slice = c:bytes(tree, 'slice', c.stop - c.at)
  local said = ('%d: flow %d record %d, %d+%d of %d'):format(number, flow, record_number, offset, slice:len(), length)
  local query = session_of(pinfo).queries[flow]
  if query then tree:add(f.query_of_flow, declared.queries[query.kind] or tostring(query.kind)):set_generated() end
  local tag = tag_range:bytes():tohex(true)
  if gramline.prefs.records > RECORDS_HEADER or not keys.has(tag) then return said end
  if not pinfo.visited and not slices[id] then
    local key = ('%s:%d:%d'):format(tag, flow, record_number)
    local nonce = c.tvb:raw(18, 4) .. ZERO4 .. c.tvb:raw(22, 4)
    local epoch_bits = c.tvb:range(1, 1):uint()
    slices[id] = take_slice(id, pinfo, key, length, offset, slice:raw(), function(record, text)
      open_record(record, tag, epoch_bits, nonce, text)
    end)
  end
  local record = slices[id]
  if not record then return said end
  if record.id ~= id then
    if record.frame then tree:add(f.record_frame, record.frame):set_generated() end
  elseif record.failed then
    tree:add_proto_expert_info(e.seal, 'The record does not open: damaged, forged, or its key is not in the log')
    said = said .. ', does not open'
  else
    local text = show_record(record, tree)
    keep(record)
    if text then said = said .. ', ' .. text end
  end
  return said
end

-- ---------------------------------------------------------------- datagrams

local HAS_COOKIE, EPOCH_BITS = 1, 3
-- By type: lengths and the greatest value of the flags.
local SHAPES = {
  [HELLO] = { 65, 124, HAS_COOKIE }, [COOKIE] = { 68, 68, 0 }, [WELCOME] = { 96, 96, 0 }, [REFUSED] = { 31, 31, 0 },
  [SEALED] = { SEALED_HEADER_BYTES + SEAL_BYTES, PACKET_BYTES_MAX, EPOCH_BITS },
  [SEGMENT] = { SEGMENT_HEADER_BYTES + 1, PACKET_BYTES_MAX, EPOCH_BITS },
}

-- What is wrong with the shape of the packet at `at`, and whether what stands behind it is lost, too.
local function trouble_at(tvb, at)
  local left = tvb:reported_len() - at
  if left < PREFIX_BYTES then return 'too short for a packet', true end
  local type, flags, length = tvb:range(at, 1):uint(), tvb:range(at + 1, 1):uint(), tvb:range(at + 2, 2):uint()
  if length < PREFIX_BYTES or length > left then return 'the length does not fit the datagram', true end
  local shape = SHAPES[type]
  if not shape then return ('no packet has type 0x%02x'):format(type) end
  if length < shape[1] or length > shape[2] then return 'no ' .. declared.packets[type] .. ' has this length' end
  if flags > shape[3] then return 'reserved flag bits' end
  if tvb:len() - at < length then return nil end -- The capture has only the start of it.
  if type == HELLO then
    if tvb:range(at + 4, #MAGIC):string() ~= MAGIC then return 'no magic' end
    if (length == 65) ~= (flags == 0) then return 'cookie flag and Noise message disagree' end
  end
  if type == SEGMENT then
    local offset, whole = tvb:range(at + 26, 4):uint(), tvb:range(at + 30, 4):uint()
    if whole > SEALED_RECORD_BYTES_MAX or offset + length - SEGMENT_HEADER_BYTES > whole then
      return 'the slice lies outside its record'
    end
  end
end

local function read_one(tvb, at, pinfo, tree, root)
  local trouble, is_all = trouble_at(tvb, at)
  if trouble then
    local length = is_all and tvb:len() - at or math.min(tvb:range(at + 2, 2):uint(), tvb:len() - at)
    local item = root:add(gramline, tvb:range(at, length), 'Gramline, damaged: ' .. trouble)
    item:add_proto_expert_info(e.layout, 'Damaged: ' .. trouble)
    return length, 'damaged (' .. trouble .. ')'
  end
  local type, length = tvb:range(at, 1):uint(), tvb:range(at + 2, 2):uint()
  local name = declared.packets[type]
  if tvb:len() - at < length then
    local item = root:add(gramline, tvb:range(at), 'Gramline ' .. name)
    item:add(f.type, tvb:range(at, 1))
    item:add_proto_expert_info(e.cut, 'The capture has only the start of this packet')
    return tvb:len() - at, name .. ' (cut)'
  end
  local packet = tvb:range(at, length):tvb()
  local item = root:add(gramline, packet:range(0), 'Gramline ' .. name)
  item:add(f.type, packet:range(0, 1))
  item:add(f.flags, packet:range(1, 1))
  item:add(f.length, packet:range(2, 2))
  local detail
  frames.guarded(item, e.layout, function()
    local c = frames.cursor(packet, PREFIX_BYTES, length)
    detail = read_packet[type](c, item, pinfo, pinfo.number .. ':' .. packet:offset())
  end)
  if not detail then return length, name end
  item:append_text(' ' .. detail)
  return length, name .. ' ' .. detail
end

function gramline.dissector(tvb, pinfo, root)
  local session = session_of(pinfo)
  -- On a port that may be somebody else's, the first packet decides.
  if tvb:len() < PREFIX_BYTES or not session.known and trouble_at(tvb, 0) then return 0 end
  session.known = true
  pinfo.cols.protocol = 'Gramline'
  local said, at, count = {}, 0, 0
  while at < tvb:len() do
    local length, text = read_one(tvb, at, pinfo, root, root)
    at, count = at + length, count + 1
    if count <= INFO_PACKETS_MAX then said[count] = text end
  end
  if count > INFO_PACKETS_MAX then said[INFO_PACKETS_MAX + 1] = ('and %d more'):format(count - INFO_PACKETS_MAX) end
  pinfo.cols.info = table.concat(said, ' | ')
  return tvb:len()
end

-- Datagrams on any port that are packets from the first byte to the last.
local function looks_like(tvb)
  local at = 0
  while at < tvb:len() do
    if trouble_at(tvb, at) then return false end
    at = at + tvb:range(at + 2, 2):uint()
  end
  return at > 0
end

gramline:register_heuristic('udp', function(tvb, pinfo, root)
  if not session_of(pinfo).known and not looks_like(tvb) then return false end
  pinfo.conversation = gramline
  return gramline.dissector(tvb, pinfo, root) > 0
end)

local ports = DissectorTable.get('udp.port')
local port = 0
local function move_to_port()
  if port ~= 0 then ports:remove(port, gramline) end
  port = gramline.prefs.port
  if port ~= 0 then ports:add(port, gramline) end
end
move_to_port()
gramline.prefs_changed = move_to_port
