"""What a server refuses, in one form for all dialects. It stays within the drivers."""


class ServerError(Exception):
    """A statement or a connection that failed.

    `code` is the server's own (an SQLSTATE, a number); `lost`: the session is no more; `silent`: nothing came
    back; `no_lock`: a lock was not to be had, and the statement did nothing; `offset`: of the culprit in the
    statement, in characters.
    """

    def __init__(
        self,
        words: str,
        *,
        code: str = "",
        hint: str = "",
        lost: bool = False,
        silent: bool = False,
        no_lock: bool = False,
        offset: int = 0,
    ) -> None:
        super().__init__(words)
        self.words = words
        self.code = code
        self.hint = hint
        self.lost = lost
        self.silent = silent
        self.no_lock = no_lock
        self.offset = offset


def silence(seconds: float) -> ServerError:
    """The error of a server that is taken for gone."""
    return ServerError(
        f"the server has not answered for {seconds:g} s",
        hint="is its host frozen, overloaded or cut off? What was under way there may go on when it wakes",
        lost=True,
        silent=True,
    )
