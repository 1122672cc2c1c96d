-- The key log of 09-tools.md: read as it grows, and the keys for a packet found by its tag.

local gcm = ...
if type(gcm) ~= 'table' then return end -- Wireshark tries every file of a plugin folder by itself.

-- Keys that are tried on a packet: epochs that are equal modulo 4, the likely one first.
local KEYS_TRIED_MAX = 16

local M = {}

-- By tag: { epochs = { [epoch] = { hex, control, record } }, newest = the newest that opened something }.
local keys = {}
local log_path, log_file, log_rest = '', nil, ''

local function unhex(text)
  return (text:gsub('%x%x', function(digits) return string.char(tonumber(digits, 16)) end))
end

local KEY_HEX = '(' .. ('%x'):rep(64) .. ')'
local KEY_LINE = '^GRAMLINE_KEYS (' .. ('%x'):rep(16) .. ') (%d+) ' .. KEY_HEX .. ' ' .. KEY_HEX .. '\r?$'

-- Reads what the log has had appended since: a capture may be live, and its log not there yet.
local function read_log()
  if log_path == '' then return nil end
  if not log_file then
    local trouble
    log_file, trouble = io.open(log_path, 'r')
    if not log_file then return trouble end
  end
  log_file:seek('cur', 0)
  local text = log_rest .. (log_file:read('*a') or '')
  local whole = text:match('^.*\n') or ''
  log_rest = text:sub(#whole + 1)
  for line in whole:gmatch('[^\n]+') do
    local tag, epoch, control, record = line:match(KEY_LINE)
    if tag then
      local of_tag = keys[tag:lower()] or { epochs = {}, newest = 0 }
      keys[tag:lower()] = of_tag
      local epochs = of_tag.epochs
      epochs[tonumber(epoch)] = epochs[tonumber(epoch)] or { hex = { control = control, record = record } }
    end
  end
end

-- Starts with the log at `path`; why it can't be read now, or nil.
function M.open(path)
  keys, log_path, log_rest = {}, path, ''
  if log_file then log_file:close() end
  log_file = nil
  return read_log()
end

-- Epochs with these bits, the one nearest to what was opened last first.
local function epochs_of(of_tag, epoch_bits)
  local found = {}
  for epoch in pairs(of_tag.epochs) do
    if epoch % 4 == epoch_bits then found[#found + 1] = epoch end
  end
  local near = of_tag.newest + 0.5
  table.sort(found, function(left, right) return math.abs(left - near) < math.abs(right - near) end)
  return found
end

-- The cipher of one epoch; made when it is first needed.
local function cipher(of_epoch, use)
  of_epoch[use] = of_epoch[use] or gcm.new(unhex(of_epoch.hex[use]))
  return of_epoch[use]
end

-- The cipher of an epoch under which something has opened.
function M.cipher(tag, epoch, use)
  return cipher(keys[tag].epochs[epoch], use)
end

-- Whether there are keys for packets with `tag`.
function M.has(tag)
  if not keys[tag] then read_log() end
  return keys[tag] ~= nil
end

-- Runs `attempt(aead)` under the keys for `use` that may fit; its result and the epoch, or nil.
function M.try(tag, epoch_bits, use, attempt)
  local of_tag = keys[tag]
  for round = 1, 2 do
    local found = epochs_of(of_tag, epoch_bits)
    for index = 1, math.min(#found, KEYS_TRIED_MAX) do
      local result = attempt(cipher(of_tag.epochs[found[index]], use))
      if result then
        of_tag.newest = math.max(of_tag.newest, found[index])
        return result, found[index]
      end
    end
    -- An update may have been logged since.
    if round == 1 then read_log() end
    if #epochs_of(of_tag, epoch_bits) == #found then return nil end
  end
end

return M
