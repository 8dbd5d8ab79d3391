-- For wrk: each thread sends the whole HTTP requests of a file of its own, one after another, none twice.
--
--   wrk ... -s wrk.lua URL -- PREFIX      thread n reads PREFIX.n: (size as 8 digits, request) one after another
--
-- At the end one line of JSON. `ran_out` says that a thread had nothing left to send.

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(args)
  ran_out = 0
  file = assert(io.open(args[1] .. "." .. number, "rb"))
end

function request()
  local size = file:read(8)
  if not size then
    ran_out = 1
    wrk.thread:stop()
    file:seek("set", 0) -- something must be sent; it is a duplicate, and the run does not count
    size = file:read(8)
  end
  return file:read(tonumber(size))
end

function done(summary, latency)
  local ran_out = 0
  for _, thread in ipairs(threads) do
    ran_out = ran_out + thread:get("ran_out")
  end
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"refused":%d,"broken":%d,"p50_us":%d,"p99_us":%d,"ran_out":%d}\n',
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), ran_out))
end
