"""Joins the members of a tar into samples by WebDataset's rule; names with more dots are taken apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from curation_assets.formats.tar import members
from curation_assets.formats.tar.members import TarMember, UnreadMember

MOST_HELD = 16
"""Members with a dotted name that could each be a sample, held until it is decided whether they are."""


def split_member_name(name: str) -> tuple[str, str] | None:
    """Key and lower-case extension as WebDataset splits them; None for a name that belongs to no sample.

    The key is the path up to the first dot of its last component: `a/b.seg.png` gives `a/b` and `seg.png`. Names
    without a dot, hidden names and the library's `__meta__` entries belong to no sample.
    """
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    if not stem or not dot or is_library_entry(name):
        return None
    return f"{folder}{slash}{stem}", extension.lower()


def is_library_entry(name: str) -> bool:
    """Whether a member is one of webdataset's own, such as `__key__`."""
    top = name.split("/", 1)[0]
    return len(top) >= 4 and top.startswith("__") and top.endswith("__")


class Group:
    """Consecutive members of one key.

    Args:
        key: of the sample.
        extensions: of the content, e.g. of images.
    """

    def __init__(self, key: str, extensions: tuple[str, ...]) -> None:
        self.key = key
        self._extensions = extensions
        self._n_plain = self._n_dotted = 0
        self.members: dict[str, TarMember] = {}
        self.unread: dict[str, UnreadMember] = {}
        self._order: list[str] = []
        self._n_bytes = 0

    def takes(self, key: str, extension: str) -> bool:
        """Whether a member is of this sample: a repeated extension starts another sample with the same key."""
        return key == self.key and extension not in self.members and extension not in self.unread

    def add(self, extension: str, member: TarMember | UnreadMember) -> None:
        """Take a member; of one with which the sample has too many bytes, only its name."""
        self._order.append(extension)
        if extension in self._extensions:
            self._n_plain += 1
        elif _ends_in(extension, self._extensions):
            self._n_dotted += 1
        if isinstance(member, TarMember):
            n_bytes = self._n_bytes + len(member.content)
            if n_bytes > members.MOST_SAMPLE_BYTES:
                self.unread[extension] = members.too_large(member.name, n_bytes)
                return
            self._n_bytes = n_bytes
            self.members[extension] = member
        else:
            self.unread[extension] = member

    @property
    def content(self) -> tuple[str, TarMember] | None:
        """The member that the sample is about, with its extension; None if there is none."""
        found = self._first_of(self.members)
        return None if found is None else (found, self.members[found])

    @property
    def unread_content(self) -> UnreadMember | None:
        """The member that the sample would be about, if it could be read."""
        found = self._first_of(self.unread)
        return None if found is None else self.unread[found]

    @property
    def too_large(self) -> UnreadMember | None:
        """A member that is left out because the sample would have too many bytes with it."""
        return next((member for member in self.unread.values() if member.is_too_large), None)

    @property
    def names(self) -> list[str]:
        """Names of all members: first of those that could be read."""
        return [member.name for held in (self.members, self.unread) for member in held.values()]

    @property
    def some_member(self) -> TarMember | UnreadMember:
        """The first member."""
        first = self._order[0]
        return self.members.get(first) or self.unread[first]

    @property
    def n_contents(self) -> int:
        """Members that could each be a sample, as `photo.v1.jpg` and `photo.v2.jpg` are.

        1 if one of them has nothing but the extension: `photo.seg.png` belongs to `photo.jpg`.
        """
        return self.n_contents_with(None)

    def n_contents_with(self, extension: str | None) -> int:
        """`n_contents` if a member of this extension were added."""
        if self._n_plain or extension in self._extensions:
            return 1
        return self._n_dotted + (extension is not None and _ends_in(extension, self._extensions))

    def apart(self) -> list[Group]:
        """The members grouped by their names up to the last dot, in their order."""
        groups: list[Group] = []
        for extension in self._order:
            key, last = split_at_last_dot(self.key, extension)
            if not groups or not groups[-1].takes(key, last):
                groups.append(Group(key, self._extensions))
            groups[-1].add(last, self.members.get(extension) or self.unread[extension])
        return groups

    def __len__(self) -> int:
        return len(self._order)

    def _first_of(self, found: Collection[str]) -> str | None:
        plain = next((extension for extension in self._extensions if extension in found), None)
        # `photo.v2.jpg` has the extension `v2.jpg`.
        return plain or next(
            (extension for extension in found if _ends_in(extension, self._extensions)), None
        )


class Grouping:
    """Joins the members of one tar into samples, as they come.

    Args:
        extensions: of the content, e.g. of images.
    """

    def __init__(self, extensions: tuple[str, ...]) -> None:
        self._extensions = extensions
        self._open: Group | None = None
        self._first_key: str | None = None
        self._is_apart = False

    @property
    def open(self) -> Group | None:
        """The sample that further members may belong to."""
        return self._open

    def add(self, key: str, extension: str, member: TarMember | UnreadMember) -> Iterator[Group]:
        """Take a member; yields the samples that are complete by it.

        Of names that go on after the first dot, as `www.a.jpg` and `www.b.jpg`, each is a sample of its own, unless
        one of them has nothing but the extension. Of more than 16 such names nothing is held back.
        """
        if key != self._first_key:
            yield from self.close()
            self._first_key, self._is_apart = key, False
        name = split_at_last_dot(key, extension) if self._is_apart else (key, extension)
        if self._open is None or not self._open.takes(*name):
            yield from self._closed()
            # What was taken apart stays so: a name that comes twice must give the same id twice.
            name = split_at_last_dot(key, extension) if self._is_apart else name
            self._open = Group(name[0], self._extensions)
        self._open.add(name[1], member)
        if not self._is_apart and self._open.n_contents > MOST_HELD:
            yield from self._take_apart(self._open)

    def cut(self, name: str | None) -> Iterator[Group]:
        """Note that the tar is cut, inside a member of this name if any; yields what is whole before the open sample.

        Of names that could each be a sample, all but the last are whole.
        """
        found, group = split_member_name(name) if name else None, self._open
        if group is None or self._is_apart:
            return
        joins = found is not None and group.takes(*found)
        if group.n_contents_with(found[1] if found and joins else None) > 1:
            self._is_apart = True
            *whole, self._open = group.apart()
            yield from whole

    def split(self, name: str) -> tuple[str, str] | None:
        """Key and extension of a name, as those of the open sample are made."""
        found = split_member_name(name)
        if found is None or not self._is_apart or found[0] != self._first_key:
            return found
        return split_at_last_dot(*found)

    def close(self) -> Iterator[Group]:
        """The samples that no further member can belong to."""
        yield from self._closed()
        self._first_key = None

    def _take_apart(self, group: Group) -> Iterator[Group]:
        self._is_apart = True
        *whole, self._open = group.apart()
        yield from whole

    def _closed(self) -> Iterator[Group]:
        group, self._open = self._open, None
        if group is None:
            return
        if not self._is_apart and group.n_contents > 1:
            self._is_apart = True
            yield from group.apart()
        else:
            yield group


def split_at_last_dot(key: str, extension: str) -> tuple[str, str]:
    """Key and extension of a name split at its last dot, from the two that `split_member_name` gives."""
    middle, dot, last = extension.rpartition(".")
    return f"{key}.{middle}" if dot else key, last


def _ends_in(extension: str, extensions: tuple[str, ...]) -> bool:
    return extension.rpartition(".")[2] in extensions
