-- For wrk: each connection has a thread, and a chain of refresh tokens, of its own.
-- wrk ... -s refresh.lua URL TOKEN ...

local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
  thread:set("trouble", "")
end

function init(arguments)
  token = arguments[number]
end

function request()
  local headers = { ["Content-Type"] = "application/json", ["X-Forwarded-Proto"] = "https" }
  return wrk.format("POST", nil, headers, '{"refresh": "' .. token .. '"}')
end

function response(status, headers, body)
  local successor = body:match('"refresh":"([^"]+)"')
  if status ~= 200 or successor == nil or successor == token then
    trouble = status .. " " .. body
    wrk.thread:stop()
    return
  end
  token = successor
end

function done(summary, latency, requests)
  for _, thread in ipairs(threads) do
    local trouble = thread:get("trouble")
    if trouble ~= "" then io.write("Trouble: " .. trouble .. "\n") end
  end
end
