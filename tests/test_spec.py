import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.spec import Spec, names, parse, resolve


def test_values():
    spec = parse("a-b:C.d(x=8/255, y=-1, z=l2, t=true, n=none, s='q', l=[1, 2/4], i=inf)")
    assert spec.name == "a-b:C.d"
    assert spec.settings == {
        "x": 8 / 255,
        "y": -1,
        "z": "l2",
        "t": True,
        "n": None,
        "s": "q",
        "l": [1, 0.5],
        "i": float("inf"),
    }


def test_a_spec_can_be_a_value():
    assert parse("shrink(attack=sign-ascent(eps=1/4))").settings == {
        "attack": "sign-ascent(eps=1/4)"
    }


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True).filter(lambda k: k.isidentifier()),
        st.one_of(
            st.integers(),
            st.floats(allow_nan=False),
            st.booleans(),
            st.none(),
            st.text(max_size=8),
            st.lists(st.integers(), max_size=3),
        ),
        max_size=4,
    ).filter(lambda d: not any(__import__("keyword").iskeyword(k) for k in d))
)
def test_what_is_written_is_read_back(settings):
    spec = Spec("name", settings)
    assert parse(str(spec)) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8",
        "pgd(",
        "pgd(1)",
        "pgd(eps=1, eps=2)",
        "pgd(**x)",
        "pgd(eps=1/0)",
        "pgd(eps=__import__('os').system('true'))",
        "pgd(eps=(lambda: 1)())",
        "pgd(eps='a'*9)",
        "pgd(eps=2**99999)",
        "pgd(eps=true/2)",
        "pgd(x=1)(y=2)",
        "pgd(eps=" + "(" * 5000,
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("pdg", "did you mean pgd"),
        ("pgd(stesp=3)", "did you mean steps"),
        ("torchatack:PGD", "did you mean torchattacks"),
        ("pgd(model=3)", "unknown setting of pgd 'model'"),
    ],
)
def test_unknown_names_come_with_the_nearest_known(text, hint):
    with pytest.raises(ValueError, match=hint):
        resolve(text)


def test_equal_settings_have_equal_texts():
    texts = ["pgd", "pgd()", "pgd(eps=8/255)", "pgd(steps=20, eps=8/255)"]
    assert len({resolve(text).spec for text in texts}) == 1
    assert resolve(resolve("pgd").spec).spec == resolve("pgd").spec
    assert resolve("pgd(steps=21)").spec != resolve("pgd").spec


def test_every_listed_attack_resolves_and_says_what_it_is():
    for name, summary in names().items():
        assert resolve(name).name == name
        assert summary.strip()
