// The fragment of an address never reaches a server. What leads on from here carries it, or it would be lost.
for (const link of document.querySelectorAll('a[data-return]')) {
  const carry = () => {
    const address = new URL(link.href)
    address.searchParams.set('return_to', link.dataset.return + location.hash)
    link.href = address.href
  }
  carry()
  addEventListener('hashchange', carry)
  if (link.hasAttribute('data-follow')) location.replace(link.href)
}
