// Signs in with a proof by dpop, then calls the API by oauth4webapi. Each line is an algorithm, each answer a name.
import { createInterface } from 'node:readline'
import * as DPoP from 'dpop'
import * as oauth from 'oauth4webapi'

const site = process.env.ISSUER
const client = { client_id: 'any' }

async function post(path, body, keys, nonce) {
  const proof = await DPoP.generateProof(keys, site + path, 'POST', nonce)
  const headers = { 'content-type': 'application/json', dpop: proof }
  const answer = await fetch(site + path, { method: 'POST', headers, body: JSON.stringify(body) })
  if (answer.status === 400 && nonce === undefined) {
    return post(path, body, keys, answer.headers.get('dpop-nonce'))
  }
  return answer.json()
}

async function call(access, handle, again = true) {
  const options = { DPoP: handle, [oauth.allowInsecureRequests]: true }
  try {
    return await oauth.protectedResourceRequest(access, 'GET', new URL(`${site}/api/me/`), undefined, undefined, options)
  } catch (error) {
    if (again && oauth.isDPoPNonceError(error)) return call(access, handle, false)
    throw error
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const { algorithm, username, password } = JSON.parse(line)
    const keys = await DPoP.generateKeyPair(algorithm)
    const first = await post('/api/token/', { username, password }, keys)
    const { access } = await post('/api/token/refresh/', { refresh: first.refresh }, keys)
    const handle = oauth.DPoP(client, keys)
    await call(first.access, handle)
    const answer = await call(access, handle)
    console.log((await answer.json()).username)
  } catch (error) {
    console.log(`${error.code ?? ''} ${error.message}`)
  }
}
