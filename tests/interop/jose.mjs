// Answers each token with its subject, or with why it is refused.
import { createInterface } from 'node:readline'
import { createRemoteJWKSet, jwtVerify } from 'jose'

// jose asks for the keys again at most every 30 seconds: enough where a key is published long before it signs.
const keys = createRemoteJWKSet(new URL(`${process.env.ISSUER}/.well-known/jwks.json`), { cooldownDuration: 0 })
const wanted = { issuer: process.env.ISSUER, audience: process.env.AUDIENCE, typ: 'at+jwt' }

for await (const token of createInterface({ input: process.stdin })) {
  try {
    const { payload } = await jwtVerify(token, keys, wanted)
    console.log(payload.sub)
  } catch (error) {
    console.log(`refused: ${error.code}`)
  }
}
