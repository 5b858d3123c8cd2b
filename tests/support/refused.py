"""What a command says where it refuses."""


def assert_refused(result, *words):
    """One clear line on stderr behind the first words, nothing on stdout, exit code 2."""
    code, out, err = result
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if "loading torch" not in line]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]
