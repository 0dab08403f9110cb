-- Makes wrk post one body repeatedly and print the counts of its responses as one line of JSON.
-- wrk -s load.lua URL -- BODY_FILE CONTENT_TYPE
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  answered, refused, failed = 0, 0, 0
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  wrk.headers["Content-Type"] = args[2]
  file:close()
end

-- Defining this function makes wrk keep the whole response, which costs little compared with an explanation.
function response(status)
  if status == 200 then
    answered = answered + 1
  elseif status == 503 then
    refused = refused + 1
  else
    failed = failed + 1
  end
end

function done(summary, latency)
  local total = { answered = 0, refused = 0, failed = 0 }
  for _, thread in ipairs(threads) do
    for name, count in pairs(total) do
      total[name] = count + thread:get(name)
    end
  end
  local errors = summary.errors
  print(string.format(
    '{"answered": %d, "refused": %d, "failed": %d, "broken": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f}',
    total.answered, total.refused, total.failed,
    errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
