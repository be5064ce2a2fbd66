"""XML: texts with entities marked in them, and texts beside a list of tags."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ...errors import Errors, UniversalNERError
from .sentence import Entity, Sentence, SetAside, from_text, list_files, place, visible


def read_xml(
    path: Path,
    set_aside: SetAside,
    *,
    text: str = "TEXT",
    attribute: str = "TYPE",
    entity: str | None = None,
    tags: str | None = None,
    elements: Sequence[str] = (),
) -> Iterator[Sentence]:
    """Read XML; one of `entity` and `tags` is to be named.

    path (Path): a folder, with all in it, or one .xml file.
    set_aside (Counter): counts what is left out.
    text (str): the element that holds a text, or a sentence.
    attribute (str): the attribute that holds an entity's tag.
    entity (str): the element that marks an entity in a text; one without the attribute marks nothing.
    tags (str): the element that lists a document's entities, by offsets (start, end, text).
    elements (Sequence[str]): the elements of that list that are entities; none for all that have offsets.
    RAISES (UniversalNERError): damaged XML, or an entity that does not fit its text.
    """
    for file in list_files(path, ".xml"):
        root = parse(file)
        if tags is None:
            for found in root.iter(text):
                yield from visible(_read_marked(found, file, str(entity), attribute, set_aside), set_aside)
        else:
            yield _read_listed(root, file, text, tags, attribute, elements, set_aside)


def parse(path: Path) -> Element:
    """The root of an XML file. RAISES (UniversalNERError): it is damaged."""
    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as err:
        raise UniversalNERError(Errors.U226.format(where=place(path, err.position[0]), reason=err)) from err


def _read_marked(element: Element, path: Path, entity: str, attribute: str, set_aside: SetAside) -> Sentence:
    parts: list[str] = []
    found: list[Entity] = []

    def walk(node: Element, offset: int) -> int:
        start = offset
        for piece, child in [(node.text, None), *((child.tail, child) for child in node)]:
            if child is not None:
                offset = walk(child, offset)
            parts.append(piece or "")
            offset += len(parts[-1])
        end = offset
        tag = node.get(attribute) if node.tag == entity else None
        if tag is not None and tag.startswith("("):  # several entities that share a word: "B and T cells"
            set_aside["coordinated entities"] += 1
        elif tag is not None:
            found.append(Entity(start, end, tag, None, str(path)))
        return end

    walk(element, 0)
    return from_text("".join(parts), found, set_aside, id=element.get("id", element.get("ID", "")), where=str(path))


def _read_listed(
    root: Element,
    path: Path,
    text: str,
    tags: str,
    attribute: str,
    elements: Sequence[str],
    set_aside: SetAside,
) -> Sentence:
    body, listed = root.find(f".//{text}"), root.find(f".//{tags}")
    if body is None or listed is None:
        got = sorted({child.tag for child in root})
        raise UniversalNERError(Errors.U220.format(where=path, expected=f"the elements {text} and {tags}", got=got))
    entities = []
    for child in listed:
        start, end = child.get("start"), child.get("end")
        if start is None or end is None or (elements and child.tag not in elements):
            continue
        where = f"{path}, {child.tag} {child.get('id', '')}".rstrip()
        if not (start.isdigit() and end.isdigit()):
            raise UniversalNERError(Errors.U220.format(where=where, expected="two numbers", got=f"{start!r}, {end!r}"))
        entities.append(Entity(int(start), int(end), child.get(attribute, child.tag), child.get("text"), where))
    content = "".join(body.itertext())
    # XML hands on bare line ends, whatever those were that the offsets count.
    texts = list(dict.fromkeys((content, content.replace("\n", "\r\n"))))
    return from_text(texts, entities, set_aside, id=path.stem, where=str(path))
