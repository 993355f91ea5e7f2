// An OpenID provider to practise and test sign-in with: whoever is chosen on its page is signed in, no password asked.
// Refuses to listen anywhere but on the loopback address. Its people, client and port come as JSON in OPSGATE_PRACTICE.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const { port, client, people } = JSON.parse(process.env.OPSGATE_PRACTICE);
const issuer = `http://127.0.0.1:${port}`;
const cookieKeys = [randomBytes(24).toString('hex')];

let keys = [newKey()];
let provider = open();
let handle = provider.callback();

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(6).toString('hex'), use: 'sig', alg: 'RS256' };
}

// What it keeps is shared by all instances of the library, so that new keys need only a new instance.
function open() {
  return new Provider(issuer, {
    clients: [{ ...client, grant_types: ['authorization_code'], response_types: ['code'] }],
    jwks: { keys },
    cookies: { keys: cookieKeys },
    claims: { openid: ['sub', 'acr', 'amr'], profile: ['name'], groups: ['groups'] },
    conformIdTokenClaims: false, // groups stand in the ID token, as most companies have it
    acrValues: ['mfa'],
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    pkce: { required: () => true, methods: ['S256'] },
    findAccount: (_, id) => (people[id] ? { accountId: id, claims: () => ({ sub: id, ...people[id] }) } : undefined),
    loadExistingGrant,
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 3600, IdToken: 600, Interaction: 600, Session: 3600 },
  });
}

// Its one client is the gateway of the same machine, so nobody is asked for consent.
async function loadExistingGrant(ctx) {
  const grant = new ctx.oidc.provider.Grant({
    clientId: ctx.oidc.client.clientId,
    accountId: ctx.oidc.session.accountId,
  });
  grant.addOIDCScope('openid profile groups');
  await grant.save();
  return grant;
}

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function page(uid, acr) {
  const chosen = acr.includes('mfa') ? 'checked' : '';
  const buttons = Object.entries(people).map(
    ([id, person]) => `<button name="who" value="${escape(id)}">${escape(person.name)}</button>`,
  );
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Practice identity provider</title>
<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:12vh auto;padding:0 1rem}
button{display:block;width:100%;margin:.5rem 0;padding:.6rem;font:inherit;text-align:left}label{display:block;margin:1rem 0}</style>
<h1>Who are you?</h1><p>This stands in for your company's sign-in. It asks for no password.</p>
<form method="post" action="/interaction/${uid}">
<label><input type="checkbox" name="mfa" value="yes" ${chosen}> with a second factor</label>
${buttons.join('\n')}
<button name="who" value="">Nobody: cancel</button></form></html>`;
}

async function text(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}

async function interact(request, response) {
  const { uid, params } = await provider.interactionDetails(request, response);
  const given = new URLSearchParams(request.method === 'POST' ? await text(request) : { who: params.login_hint ?? '' });
  const who = given.get('who');
  if (request.method === 'GET' && !people[who]) {
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(page(uid, params.acr_values ?? ''));
    return;
  }
  const mfa = given.get('mfa') === 'yes';
  const login = { accountId: who, acr: mfa ? 'mfa' : 'pwd', amr: mfa ? ['pwd', 'otp', 'mfa'] : ['pwd'], remember: false };
  const refused = { error: 'access_denied', error_description: 'nobody signed in' };
  await provider.interactionFinished(request, response, people[who] ? { login } : refused, {
    mergeWithLastSubmission: false,
  });
}

// For tests: new signing keys. With `keep`, the old one is still published.
function rotate(response, keep) {
  keys = [newKey(), ...(keep ? keys : [])];
  provider = open();
  handle = provider.callback();
  response.writeHead(204).end();
}

createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, issuer);
  try {
    if (pathname.startsWith('/interaction/')) await interact(request, response);
    else if (pathname === '/practice/rotate' && request.method === 'POST') rotate(response, searchParams.has('keep'));
    else if (pathname === '/practice/people' && request.method === 'PUT') {
      Object.assign(people, JSON.parse(await text(request)));
      response.writeHead(204).end();
    } else await handle(request, response);
  } catch (error) {
    response.writeHead(400, { 'Content-Type': 'text/plain' }).end(`${error.name}: ${error.message}`);
  }
}).listen(port, '127.0.0.1', () => console.log(`ready ${issuer}`));
