// The deck as a part of the page: it stays where it is while the page is drawn again, and takes what is new.

function main(component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector("#story");
  if (!parentElement.deck) parentElement.deck = new Deck(root, { remember: data.remember, style: DECK_STYLE });
  parentElement.deck.show(data.deck);
  return () => {
    parentElement.deck?.end();
    parentElement.deck = undefined;
  };
}
