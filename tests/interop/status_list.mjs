// Answers each token with its status, read by a package that knows nothing of us.
import { createInterface } from 'node:readline'
import { getListFromStatusListJWT, getStatusListFromJWT } from '@sd-jwt/jwt-status-list'

for await (const token of createInterface({ input: process.stdin })) {
  const { uri, idx } = getStatusListFromJWT(token)
  const list = await (await fetch(uri, { headers: { accept: 'application/statuslist+jwt' } })).text()
  console.log(getListFromStatusListJWT(list).getStatus(idx))
}
