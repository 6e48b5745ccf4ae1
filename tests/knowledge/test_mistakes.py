"""Seeded mistakes in rules files: each is found, at its line and column, in words that help.

The mark § in a file stands before the place that should be told.
"""

from __future__ import annotations

import pytest

from kenspeckle.errors import DataError
from kenspeckle.knowledge.beside import Beside
from kenspeckle.knowledge.problems import Place, RulesError
from kenspeckle.knowledge.rules import Rules

TABLES = {
    "short.csv": "month,cat,dog\n1,2,3\n2,3\n",
    "twice.csv": "month,cat,dog\n1,2,3\n1,2,3\n",
    "empty.csv": "",
    "words.csv": "month,cat,dog\n1,2,many\n",
    "stranger.csv": "month,cat,dgo\n1,2,3\n",
}
PETS = "classes: [cat, dog]\n"
WEATHER = "tags: [night, snow, rain]\n"
LIFE = "classes: [egg, larva]\n"


def mistake(name, code, text, *words):
    return pytest.param(code, text, words, id=name)


MISTAKES = [
    # What is no table of sections.
    mistake("empty", "E002", "§", "empty", "ken rules init"),
    mistake("only a comment", "E002", "§# nothing yet\n", "empty"),
    mistake("a list", "E002", "§- cat\n- dog\n", "table of sections", "a list"),
    mistake("a text", "E002", "§cat\n", "table of sections", "a text"),
    mistake("a wide colon", "E002", "§classes：[cat]\n", "each with a colon"),
    # What is no YAML.
    mistake("open list", "E001", "classes: §[cat, dog\nrules: []\n", "no ']'", "comma"),
    mistake("open table", "E001", "classes: §{pet: [cat, dog]\n", "no '}'", "comma"),
    mistake("open quotation", "E001", "classes: [§'cat, dog]\n", "quotation mark", "never closed"),
    mistake(
        "end within", "E001", "classes: [cat, dog]\nmirror: {cat:§\n", "file ends", "still open"
    ),
    mistake("tab", "E001", "classes:\n§\t- cat\n", "tab", "spaces"),
    mistake("list on the line", "E001", "classes: §- cat\n", "line of its own"),
    mistake("second colon", "E001", PETS + "rules:\n  - never: cat§: dog\n", "colon", "quotation"),
    mistake(
        "lost colon", "E001", "classes:\n  - cat\n  §dog\ntags: [snow]\n", "colon may be missing"
    ),
    mistake("shifted section", "E001", PETS + " §rules: []\n", "too far to the left or right"),
    mistake("shifted dash", "E001", "classes:\n- cat\n §- dog\n", "further to the right", "line 2"),
    mistake("at sign", "E001", "classes: [cat, §@dog]\n", "begin with @", "quotation marks"),
    mistake("unseen sign", "E001", "classes: [c§\x07at]\n", "code 7", "Delete"),
    mistake("backslash", "E001", 'classes: ["c§\\qat"]\n', "backslash", "single"),
    # What rules files must not have.
    mistake("anchor", "E003", "classes: §&pets [cat]\n", "Anchors", "Write the text out"),
    mistake("bomb", "E003", "a: §&a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "aliases"),
    mistake("object", "E003", "classes: §!!python/object:os.system [cat]\n", "'!'", "os.system"),
    mistake("second document", "E003", PETS + "§---\ntags: [snow]\n", "second document", "one"),
    mistake("deep", "E003", "classes: " + "[" * 39 + "§[", "nested over 40 deep"),
    mistake("list as a key", "E003", PETS + "? §[cat, dog]\n: snow\n", "before the colon"),
    mistake("section twice", "E004", PETS + "§classes: [cow]\n", "'classes'", "line 1", "Join"),
    mistake("key twice", "E004", "classes: {pet: [cat], §pet: [dog]}\n", "'pet'", "twice"),
    # Sections.
    mistake("version", "E005", "ken-rules: §2\n" + PETS, "'2'", "ken-rules: 1"),
    mistake("listed version", "E005", "ken-rules: §[1]\n" + PETS, "ken-rules: 1"),
    mistake("misspelt section", "E006", PETS + "§ruls: []\n", "'ruls'", "did you mean 'rules'?"),
    mistake("strange section", "E006", PETS + "§zoo: []\n", "'zoo'", "Sections: classes, unseen"),
    mistake("nothing to answer", "E007", "§columns: {season: [summer]}\n", "nothing to answer"),
    # Names.
    mistake(
        "misspelt class",
        "E101",
        "classes: [beagle, husky]\nrules:\n  - never §huskie\n",
        "'huskie'",
        "did you mean 'husky'?",
    ),
    mistake("misspelt tag", "E101", WEATHER + "rules: [never snow and §nihgt]\n", "mean 'night'?"),
    mistake(
        "far from any name",
        "E101",
        WEATHER + "rules: [if snow then §zebra]\n",
        "'zebra'",
        "Check its spelling, or add it",
    ),
    mistake(
        "beginning of a name",
        "E101",
        "classes: [vehicle, cat]\nrules: [never §veh]\n",
        "did you mean 'vehicle'?",
    ),
    mistake(
        "in the third line of a sentence",
        "E101",
        WEATHER + "rules:\n  - if night\n    and rain\n    then §snwo\n",
        "did you mean 'snow'?",
    ),
    mistake("in quotation marks", "E101", WEATHER + "rules: ['never §snwo']\n", "mean 'snow'?"),
    mistake(
        "in a block", "E101", WEATHER + "rules:\n  - >\n    never\n    §snwo\n", "mean 'snow'?"
    ),
    mistake("in the key if", "E101", WEATHER + "rules:\n- {if: §nigt, then: snow}\n", "'night'?"),
    mistake("in the key then", "E101", WEATHER + "rules:\n- {if: night, then: §snw}\n", "'snow'?"),
    mistake("in a count", "E101", WEATHER + "rules:\n  - at most 1 of: [snow, §ran]\n", "'rain'?"),
    mistake(
        "misspelt class of an attribute",
        "E101",
        PETS + "attributes: {fur: {always: [cat, §dgo]}}\n",
        "What 'fur' is said of",
        "no 'dgo', did you mean 'dog'?",
    ),
    mistake(
        "misspelt attribute",
        "E101",
        PETS + "attributes: {fur: {always: [cat]}}\nunseen: {zebra: {§furr: yes}}\n",
        "no attribute 'furr', did you mean 'fur'?",
    ),
    mistake(
        "misspelt value",
        "E101",
        PETS + "attributes: {legs: {one of: [two, four], values: {cat: §fuor, dog: two}}}\n",
        "'legs' has no value 'fuor', did you mean 'four'? It has: two, four.",
    ),
    mistake(
        "misspelt value in a sentence",
        "E101",
        "tags: [snow]\ncolumns: {season: [summer, winter]}\nrules: [never season is §wintre]\n",
        "did you mean 'winter'?",
    ),
    mistake(
        "misspelt parent",
        "E101",
        "classes: {animal: [cat, dog]}\nunseen: {zebra: {is-a: §anmal}}\n",
        "did you mean 'animal'?",
    ),
    mistake(
        "misspelt class of a cost",
        "E101",
        PETS + "costs: [{truth: §cot, answered: dog, cost: 2}]\n",
        "'truth' should be a class",
        "mean 'cat'?",
    ),
    mistake(
        "misspelt class of a prior",
        "E101",
        PETS + "priors: [{column: month, value: 7, §cot: x2}]\n",
        "mean 'cat'?",
    ),
    mistake(
        "prior on a value that its column lacks",
        "E101",
        PETS + "columns: {s: [wet, dry]}\npriors: [{column: s, value: §wett, cat: x2}]\n",
        "mean 'wet'?",
    ),
    mistake("Chinese", "E101", "classes: [金毛犬, 哈士奇]\nrules: [never §哈士其]\n", "'哈士奇'?"),
    mistake("Cyrillic", "E101", "classes: [собака, кошка]\nrules: [never §сабака]\n", "'собака'?"),
    mistake("Arabic", "E101", "classes: [حصان, كلب]\nrules: [never §حصن]\n", "'حصان'?"),
    mistake(
        "after wide letters",
        "E101",
        "tags: [大雪, 夜晚时间]\nrules: [never 大雪 and §夜晚时光]\n",
        "'夜晚时间'?",
    ),
    mistake("capitals of a name", "E101", "tags: [Snow]\nrules: [never §snow]\n", "mean 'Snow'?"),
    mistake(
        "the same letters stored otherwise",
        "E101",
        "tags: [Löwe]\nrules: [never §Lo\u0308we]\n",
        "mean 'Löwe'?",
        "copy it",
    ),
    mistake(
        "spaces",
        "E101",
        "tags: [headlights on, night]\nrules: [if night then §headlight on]\n",
        "'headlight on', did you mean 'headlights on'?",
    ),
    mistake(
        "brackets",
        "E101",
        "classes: ['Canis lupus (grey)', cat]\nrules:\n  - \"'§Canis lupus (gray)' or cat\"\n",
        "mean 'Canis lupus (grey)'?",
    ),
    mistake(
        "colon",
        "E101",
        "classes: ['Rosa: alba', cat]\nrules:\n  - 'never \"§Rosa: alpa\"'\n",
        "mean 'Rosa: alba'?",
    ),
    mistake("off stays a word", "E101", "tags: [on, off]\nrules: [never on and §offf]\n", "'off'?"),
    # The tree.
    mistake(
        "circle",
        "E102",
        "classes:\n  dog: [pet]\n  pet: [§dog]\n",
        "dog -> pet -> dog (lines 2, 3)",
        "Take one",
    ),
    mistake("below itself", "E102", "classes: {cat: [§cat], dog: }\n", "cat -> cat (line 1)"),
    # Sentences.
    mistake("no name", "E105", WEATHER + "rules:\n  - never snow and§\n", "ends where a name"),
    mistake("empty never", "E105", WEATHER + "rules:\n  - never:§\n", "ends where a name"),
    mistake(
        "two names", "E105", WEATHER + "rules: [never night §snow]\n", "'snow'", "'and' or 'or'"
    ),
    mistake("comma", "E105", WEATHER + "rules:\n  - night§, snow\n", "in place of the comma"),
    mistake("capitals", "E105", WEATHER + "rules: [§Never snow]\n", "'never' in place of 'Never'"),
    mistake("open bracket", "E105", WEATHER + "rules: [(night or snow§]\n", "')'", "the end"),
    mistake(
        "if without then", "E105", WEATHER + "rules: [if night§]\n", "'then' should stand here"
    ),
    mistake("key without then", "E105", WEATHER + "rules:\n- {§if: night}\n", "needs a 'then'"),
    mistake("then alone", "E105", WEATHER + "rules:\n- §{then: night}\n", "none of these"),
    mistake(
        "two in one",
        "E105",
        WEATHER + "rules:\n- §{never: night, if: snow, then: rain}\n",
        "two stand here",
    ),
    mistake("a list of rules", "E105", WEATHER + "rules:\n- §[never night]\n", "not a list"),
    mistake(
        "a list of names", "E105", WEATHER + "rules:\n- never: §[night, snow]\n", "found a list"
    ),
    mistake(
        "five of three",
        "E105",
        WEATHER + "rules:\n  - §exactly 5 of: [night, snow, rain]\n",
        "only 3 things",
        "not 5",
    ),
    mistake(
        "five of three in words",
        "E105",
        WEATHER + "rules: ['at least §five of [night, snow, rain]']\n",
        "only 3 things",
        "not 5",
    ),
    mistake(
        "at least none",
        "E105",
        WEATHER + "rules:\n  - §at least 0 of: [night, snow]\n",
        "always true",
    ),
    mistake(
        "at most all", "E105", WEATHER + "rules:\n- §at most 2 of: [rain, snow]\n", "always true"
    ),
    mistake(
        "counted twice",
        "E105",
        WEATHER + "rules:\n- §at most one of: [rain, snow, rain]\n",
        "stands twice",
    ),
    mistake(
        "none to count", "E105", WEATHER + "rules:\n- §exactly 0 of: []\n", "nothing in this list"
    ),
    mistake("some of", "E105", WEATHER + "rules:\n- §exactly some of: [rain]\n", "no whole number"),
    mistake(
        "a class has no value",
        "E105",
        "classes: {dog: [husky], cat: }\nrules: [never husky §is dog]\n",
        "a class is named alone",
    ),
    mistake(
        "which value",
        "E105",
        "tags: [snow]\ncolumns: {season: [summer, winter]}\nrules: [never §season]\n",
        "Say which, as 'season is summer'",
    ),
    mistake(
        "a value of two columns",
        "E105",
        "tags: [snow]\ncolumns: {month: [1, 2], day: [1, 2, 3]}\nrules: [never §1 and snow]\n",
        "Say 'month is 1' or 'day is 1'",
    ),
    mistake(
        "too much at once",
        "E105",
        f"tags: [{', '.join(f'a{i}, b{i}' for i in range(9))}]\nrules:\n"
        f"  - §{' or '.join(f'(a{i} and b{i})' for i in range(9))}\n",
        "over 256",
        "several rules",
    ),
    mistake(
        "cost without answered",
        "E105",
        PETS + "costs:\n  - §{truth: cat, cost: 3}\n",
        "lacks 'answered'",
    ),
    mistake("prior without column", "E105", PETS + "priors: [§{value: 7, cat: x2}]\n", "'column'"),
    mistake(
        "prior without factors", "E105", PETS + "priors: [§{column: m, value: 7}]\n", "factors"
    ),
    # What is no class, or no single one.
    mistake(
        "a tag where a class should be",
        "E106",
        PETS + WEATHER + "costs: [{truth: §snow, answered: cat, cost: 2}]\n",
        "should be a class; 'snow' is none",
    ),
    mistake(
        "mirror of a group",
        "E106",
        "classes: {pet: [cat, dog], cow: }\nmirror: {§pet: cow}\n",
        "'pet' is a group",
    ),
    mistake(
        "a kind of a single class",
        "E106",
        "classes: [horse]\nunseen: {zebra: {is-a: §horse}}\n",
        "'horse' is a class of its own",
    ),
    # Numbers.
    mistake(
        "usually 1",
        "E107",
        PETS + "attributes: {fur: {§usually 1: [cat]}}\n",
        "'usually 1' is 'always'",
    ),
    mistake("usually 30 %", "E107", PETS + "attributes: {fur: {§usually 30%: cat}}\n", "'30%'"),
    mistake("usually what", "E107", PETS + "attributes: {fur: {§usually: cat}}\n", "from 0 to 1"),
    mistake(
        "strength in words",
        "E107",
        WEATHER + "rules:\n- {never: snow, strength: §high}\n",
        "from 0.001 to 50, found 'high'",
    ),
    mistake(
        "strength 0",
        "E107",
        WEATHER + "rules:\n- {never: snow, strength: §0}\n",
        "from 0.001 to 50, found '0'",
    ),
    mistake(
        "decimal comma",
        "E107",
        WEATHER + "rules:\n- never: snow\n  strength: §2,5\n",
        "a point in place of the comma",
    ),
    mistake(
        "cost that is no number",
        "E107",
        PETS + "costs: [{truth: cat, answered: dog, cost: §nan}]\n",
        "0 or more, found 'nan'",
    ),
    mistake(
        "factor", "E107", PETS + "priors: [{column: m, value: 7, cat: §twice}]\n", "found 'twice'"
    ),
    mistake(
        "factor in a table",
        "E107",
        PETS + "priors: [{column: month, table: §words.csv}]\n",
        "row 2 of 'words.csv'",
        "found 'many'",
    ),
    # Lists and tables.
    mistake("tags as a table", "E108", PETS + "tags: §{snow: rain}\n", "as [one, two]", "a table"),
    mistake("attributes as a list", "E108", PETS + "attributes: §[fur]\n", "found a list"),
    mistake(
        "one value", "E108", PETS + "attributes: {legs: {one of: §[4]}}\n", "at least 2", "found 1"
    ),
    mistake(
        "value twice",
        "E108",
        PETS + "attributes: {legs: {one of: §[2, 4, 2]}}\n",
        "'legs' has a value twice",
    ),
    mistake("column without values", "E108", PETS + "columns: {season: §[]}\n", "at least 1"),
    mistake(
        "long name", "E108", f"classes: [cat, §{'dog' * 99}]\n", "297 letters", "comma missing"
    ),
    mistake("name of nothing", "E108", "classes: [cat, §'']\n", "name is missing"),
    mistake("a list in a list", "E108", PETS + "tags: [snow, §[rain]]\n", "each by itself"),
    # Keys.
    mistake(
        "misspelt key of an attribute",
        "E109",
        PETS + "attributes: {fur: {§allways: [cat]}}\n",
        "'allways', did you mean 'always'?",
    ),
    mistake(
        "misspelt key of a rule",
        "E109",
        WEATHER + "rules:\n- {§nevr: snow}\n",
        "'nevr', did you mean 'never'?",
    ),
    mistake(
        "misspelt key of a cost",
        "E109",
        PETS + "costs: [{truth: cat, answered: dog, cost: 1, §whi: because}]\n",
        "did you mean 'why'?",
    ),
    mistake(
        "values without a list of them",
        "E109",
        PETS + "attributes: {legs: {§values: {cat: 4}}}\n",
        "list its values under 'one of'",
    ),
    # Names that are in use.
    mistake(
        "tag named as a class",
        "E110",
        PETS + "tags: [snow, §cat]\n",
        "'cat' is in use already (line 1)",
    ),
    mistake("tag twice", "E110", "tags: [snow, rain, §snow]\n", "'snow'", "take it out"),
    mistake("attribute named as a class", "E110", PETS + "attributes: {§dog: }\n", "(line 1)"),
    mistake("column named as a tag", "E110", WEATHER + "columns: {§snow: [deep]}\n", "(line 1)"),
    mistake("tag named class", "E110", PETS + "tags: [§class]\n", "'class'", "another name"),
    mistake(
        "unseen class that exists",
        "E110",
        PETS + "unseen: {§cat: {}}\n",
        "'cat' is a class already (line 1)",
    ),
    mistake(
        "two mirror images",
        "E110",
        "classes: [b, d, p]\nmirror: {b: d, §p: d}\n",
        "'d' becomes in the mirror",
        "line 2",
    ),
    # What cannot be.
    mistake(
        "contradiction",
        "E201",
        WEATHER + "rules:\n  - §night\n  - if night then snow\n  - never snow\n  - never rain\n",
        "These 3 rules cannot all hold: L3 night; L4 if night then snow; L5 never snow.",
        "Remove or soften one of L3, L4, L5",
    ),
    mistake(
        "never at all",
        "E201",
        WEATHER + "rules:\n  - §night and not night\n",
        "This rule can never hold: L3 night and not night.",
    ),
    mistake(
        "contradiction in summer",
        "E201",
        "tags: [snow]\ncolumns: {season: [summer, winter]}\n"
        "rules:\n  - §if summer then snow\n  - never summer and snow\n",
        "Where 'season' is 'summer', these 2 rules cannot all hold",
        "one of L4, L5",
    ),
    mistake(
        "always and never",
        "E202",
        "classes: [§cat, dog]\nattributes: {fur: {always: [cat], never: [cat]}}\n",
        "'cat' can never be answered: L2:29 cat: always fur; L2:43 cat: never fur.",
        "Remove or change one of L2:29, L2:43",
    ),
    mistake(
        "two values of one class",
        "E202",
        "classes:\n  pet: [§cat, dog]\n  fish: [carp]\n"
        "attributes:\n  legs:\n    one of: [0, 4]\n    values:\n      pet: 4\n      cat: 0\n",
        "'cat' can never be answered: L8 pet: legs is 4; L9 cat: legs is 0; L2 cat is-a pet.",
        "one of L8, L9",
    ),
    mistake(
        "below two kinds that exclude each other",
        "E202",
        "classes:\n  animal: [dog, §robodog]\n  vehicle: [car, robodog]\n"
        "rules:\n  - never: animal and vehicle\n",
        "L5 never animal and vehicle; L2 robodog is-a animal; L3 robodog is-a vehicle.",
        "Remove or soften L5",
        "take 'robodog' out of one of these kinds",
    ),
    mistake(
        "a whole kind",
        "E202",
        "classes:\n  pet: [§cat, dog]\n  fish: [carp]\nrules: [never pet]\n",
        "No class of 'pet' can ever be answered: L4 never pet",
        "Remove or soften L4",
    ),
    # What is worth a look.
    mistake(
        "true of every image", "W203", WEATHER + "rules:\n- §snow or not snow\n", "every image"
    ),
    mistake(
        "follows",
        "W203",
        WEATHER + "rules:\n  - if night then snow\n  - if snow then rain\n"
        "  - §if night then rain\n",
        "follows from L3 + L4",
    ),
    mistake(
        "said twice",
        "W203",
        WEATHER + "rules:\n  - never night and snow\n  - §never snow and night\n",
        "follows from L3",
    ),
    mistake(
        "attribute that tells nothing",
        "W204",
        PETS + "attributes:\n  §fur: {always: [cat, dog]}\n",
        "'fur' is the same for all classes",
    ),
    mistake(
        "unseen twins",
        "W205",
        PETS + "attributes: {fur: {always: [cat], never: [dog]}, old: {never: [dog, cat]}}\n"
        "unseen:\n  §zebra: {fur: yes, old: yes}\n  quagga: {fur: yes, old: yes}\n",
        "'zebra' and 'quagga' have the same attributes",
    ),
    mistake(
        "tag that cannot be",
        "W206",
        "tags: [snow, §rain]\nrules:\n  - if rain then snow\n  - never rain and snow\n",
        "'rain' can never be said: L3 if rain then snow; L4 never rain and snow.",
    ),
    # Tables beside the file.
    mistake(
        "table outside the folder",
        "E502",
        PETS + "priors: [{column: month, table: §../x.csv}]\n",
        "'../x.csv'",
        "outside",
    ),
    mistake(
        "table that is not there",
        "E502",
        PETS + "priors: [{column: month, table: §none.csv}]\n",
        "'none.csv' cannot be read",
    ),
    mistake(
        "table with a short row",
        "E502",
        PETS + "priors: [{column: month, table: §short.csv}]\n",
        "Row 3 of 'short.csv' has 2 cells, not 3",
    ),
    mistake(
        "table with a row twice",
        "E502",
        PETS + "priors: [{column: month, table: §twice.csv}]\n",
        "Row 3 of 'twice.csv' is the second of '1'",
    ),
    mistake(
        "empty table",
        "E502",
        PETS + "priors: [{column: month, table: §empty.csv}]\n",
        "should begin with a row of names",
    ),
    mistake(
        "table with a strange column",
        "E101",
        PETS + "priors: [{column: month, table: §stranger.csv}]\n",
        "A column of the table 'stranger.csv'",
        "no 'dgo', did you mean 'dog'?",
    ),
    # What a clip shows, what adds up, what labels without a person.
    mistake("strange state", "E101", LIFE + "frames: {order: [egg, §larwa]}\n", "larva"),
    mistake("twice in order", "E110", LIFE + "frames: {order: [egg, larva, §egg]}\n", "twice"),
    mistake("no pair", "E108", LIFE + "frames: {never follows: [§egg]}\n", "pairs"),
    mistake("itself", "E108", LIFE + "frames: {never follows: [§[egg, egg]]}\n", "itself"),
    mistake("lasts", "E107", LIFE + "frames: {lasts at least: {egg: §long}}\n", "'5 frames'"),
    mistake("key of frames", "E109", LIFE + "frames: {§ordre: [egg, larva]}\n", "order"),
    mistake(
        "closed state",
        "E302",
        LIFE + "frames:\n  order: [egg, §larva]\n  never follows: [[egg, larva]]\n",
        "'larva' can never begin",
    ),
    mistake("one part", "E105", "sums: [{total: §left}]\n", "left + right"),
    mistake("own part", "E105", "sums: [{total: §left + total}]\n", "part of itself"),
    mistake("second sum", "E110", "sums: [{total: a + b}, {§total: c + d}]\n", "already"),
    mistake("weak of nothing", "E105", PETS + "weak: [§{then: cat}]\n", "if file name contains"),
    mistake("weak class", "E101", PETS + "weak: [{if file name contains: k, then: §kat}]\n", "cat"),
    mistake(
        "trust",
        "E107",
        PETS + "weak: [{if column: a, equals: b, then: cat, trust: §2}]\n",
        "0 to 1",
    ),
    mistake(
        "weak tag",
        "E106",
        PETS + WEATHER + "weak: [{if file name contains: k, then: §snow}]\n",
        "Only classes",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("tables")
    for name, text in TABLES.items():
        (found / name).write_text(text)
    return found


def told(text, folder=None):
    """All that is said of a file: its faults, or its warnings."""
    try:
        return Rules.parse(text, beside=Beside(folder)).warnings
    except RulesError as error:
        return error.problems


def place_of(mark, text):
    before = text[: text.index(mark)]
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))


@pytest.mark.parametrize(("code", "marked", "words"), MISTAKES)
def test_a_mistake_is_found_at_its_place_in_words_that_help(code, marked, words, folder):
    (problem,) = told(marked.replace("§", ""), folder)
    assert (problem.code, problem.place) == (code, place_of("§", marked))
    assert problem.severity == ("warning" if code.startswith("W") else "error")
    for some in words:
        assert some in problem.words


@pytest.mark.parametrize(("code", "marked", "words"), MISTAKES)
def test_no_message_shows_the_inside_of_the_program(code, marked, words, folder):
    for problem in told(marked.replace("§", ""), folder):
        assert problem.words.endswith((".", "?"))
        for inside in ("Text(", "Items(", "Place(", "Errno", "None", "frozenset", "codec"):
            assert inside not in problem.words


def test_every_code_of_reading_and_proving_is_among_the_mistakes():
    codes = {param.values[0] for param in MISTAKES}
    reading = (
        {f"E00{k}" for k in range(1, 8)} | {"E101", "E102"} | {f"E{k}" for k in range(105, 111)}
    )
    assert codes == reading | {"E201", "E202", "E302", "E502", "W203", "W204", "W205", "W206"}


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_its_lines():
    marked = """ken-rules: 1
classes:
  pet: [cat, dog]
  pet: [cow]
atributes: {}
tags: [snow, cat]
rules:
  - never snwo
  - exactly 3 of: [snow, cat]
  - {if: snow}
  - {never: snow and dgo, strength: hard}
costs:
  - {truth: cat}
"""
    with pytest.raises(RulesError) as caught:
        Rules.parse(marked, "pets.yaml")
    lines = str(caught.value).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["pets.yaml:4:3:", "E004"],
        ["pets.yaml:5:1:", "E006"],
        ["pets.yaml:6:14:", "E110"],
        ["pets.yaml:8:11:", "E101"],
        ["pets.yaml:9:5:", "E105"],
        ["pets.yaml:10:6:", "E105"],
        ["pets.yaml:11:22:", "E101"],
        ["pets.yaml:11:37:", "E107"],
        ["pets.yaml:13:5:", "E105"],
    ]


def test_contradictions_that_share_no_rule_are_told_together():
    text = "tags: [a, b]\nrules:\n  - a\n  - b\n  - never a\n  - never b\n"
    first, second = told(text)
    assert first.words.startswith("These 2 rules cannot all hold: L3 a; L5 never a. Remove or")
    assert second.words.startswith("These 2 rules cannot all hold: L4 b; L6 never b. Remove or")
    assert (first.others, second.others) == ((Place(5, 5),), (Place(6, 5),))


def test_where_one_rule_is_not_enough_the_sets_that_are_enough_are_told():
    (problem,) = told("tags: [a]\nrules:\n  - a\n  - never a\n  - not a\n")
    assert "Remove or soften L3, or L4 and L5" in problem.words


def test_classes_that_the_same_rules_forbid_are_told_once():
    leaves = ", ".join(f"c{k}" for k in range(9))
    (problem,) = told(f"classes: [{leaves}, z]\ntags: [t]\nrules:\n  - z\n")
    assert "'c0', 'c1', 'c2', 'c3', 'c4' and 4 more can never be answered: L4 z." in problem.words


def test_a_file_that_is_no_utf_8_is_told_at_its_first_strange_letter(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_bytes("classes: [cat]\ntags: [süß, für]\n".encode("latin-1"))
    with pytest.raises(
        RulesError, match=r"rules.yaml:2:9: E001 .*Save the file as UTF-8"
    ) as caught:
        Rules.load(file)
    assert caught.value.problems[0].place == Place(2, 9)
    file.write_text("classes: [cat]\n", "utf-16")
    with pytest.raises(RulesError, match=r"E001 .*UTF-8"):
        Rules.load(file)


def test_a_file_that_cannot_be_opened_is_told_with_its_path(tmp_path):
    with pytest.raises(DataError, match=r"none.yaml cannot be read: No such file"):
        Rules.load(tmp_path / "none.yaml")
    with pytest.raises(DataError, match=r"cannot be read: Is a directory"):
        Rules.load(tmp_path)


def test_a_misspelt_name_in_many_rules_is_found_in_each():
    names = [f"tag number {k}" for k in range(200)]
    text = f"tags: [{', '.join(names)}]\nrules:\n" + "".join(f"  - never {n}x\n" for n in names)
    problems = told(text)
    assert [problem.place.line for problem in problems] == list(range(3, 203))
    assert "did you mean" in problems[0].words
