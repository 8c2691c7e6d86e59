"""The words and facts that the starter model is taught: plain tables, one fact once.

Knows nothing about questions, phrasings, splits or models; `grammar.py` turns these tables into conversations.
"""


def pairs(text: str) -> dict[str, str]:
    """"hot cold, a plum purple" -> {"hot": "cold", "a plum": "purple"}; with a colon the value may have several words too."""
    rows = [row.strip() for row in text.replace("\n", " ").split(",") if row.strip()]
    return dict(tuple(part.strip() for part in (row.split(":") if ":" in row else row.rsplit(maxsplit=1))) for row in rows)


OPPOSITES = pairs("""hot cold, big small, tall short, fast slow, happy sad, light dark, up down, left right, young old, rich poor,
    hard soft, wet dry, clean dirty, full empty, loud quiet, strong weak, early late, open closed, near far, high low,
    thick thin, wide narrow, sweet sour, sharp blunt, day night, black white, good bad, love hate, begin end,
    push pull, buy sell, give take, win lose, come go, laugh cry, in out, inside outside, above below, front back,
    first last, true false, safe dangerous, easy difficult, cheap expensive, modern ancient, rough smooth,
    brave afraid, kind cruel, awake asleep, alive dead, always never, everything nothing, many few, more less,
    summer winter, morning evening, sunrise sunset, north south, east west, arrive leave, question answer, friend enemy,
    polite rude, noisy silent, lucky unlucky, shallow deep, simple complex, tight loose, straight crooked, wild tame""")
OPPOSITES.update({b: a for a, b in OPPOSITES.items()})

COLOURS = pairs("""snow white, grass green, coal black, blood red, a banana yellow, a lemon yellow, a strawberry red, a tomato red,
    the sky blue, the sea blue, a carrot orange, a pumpkin orange, chocolate brown, milk white, a crow black, a flamingo pink,
    a frog green, a leaf green, an elephant grey, a cloud white, a cherry red, a plum purple, salt white, honey golden,
    a swan white, a polar bear white, a canary yellow, a fox red, a mouse grey, a brick red, ash grey, paper white,
    a cucumber green, broccoli green, cheese yellow, coffee brown, a bear brown, a pig pink, the sun yellow, night black,
    a blueberry blue, an aubergine purple, butter yellow, rice white, sand yellow, ink blue, a raven black, gold yellow,
    silver grey, a fire engine red""")

CAPITALS = pairs("""France Paris, Germany Berlin, Italy Rome, Spain Madrid, Portugal Lisbon, England London, Ireland Dublin,
    Norway Oslo, Sweden Stockholm, Finland Helsinki, Denmark Copenhagen, Poland Warsaw, Austria Vienna, Hungary Budapest,
    Greece Athens, Turkey Ankara, Russia Moscow, Ukraine Kyiv, Romania Bucharest, Bulgaria Sofia, Croatia Zagreb, Serbia Belgrade,
    Belgium Brussels, Egypt Cairo, Kenya Nairobi, Morocco Rabat, Ghana Accra, Japan Tokyo, China Beijing, Thailand Bangkok,
    Vietnam Hanoi, Iran Tehran, Iraq Baghdad, Cuba Havana, Peru Lima, Chile Santiago, Canada Ottawa, Iceland Reykjavik,
    Australia Canberra, Colombia Bogota, Ecuador Quito, Nepal Kathmandu, Scotland Edinburgh, Wales Cardiff, Latvia Riga,
    Estonia Tallinn, Lithuania Vilnius, Slovakia Bratislava, Cyprus Nicosia, Malta Valletta""")

YOUNG = pairs("""dog puppy, cat kitten, cow calf, sheep lamb, horse foal, pig piglet, goat kid, hen chick, duck duckling, goose gosling,
    lion cub, deer fawn, frog tadpole, kangaroo joey, swan cygnet, owl owlet, butterfly caterpillar, hare leveret""")
SOUNDS = pairs("""dog barks, cat meows, cow moos, sheep bleats, horse neighs, pig grunts, duck quacks, lion roars, wolf howls, owl hoots,
    bee buzzes, snake hisses, mouse squeaks, frog croaks, crow caws, hen clucks, donkey brays, elephant trumpets, dove coos, monkey chatters""")
HOMES = pairs("""bee hive, bird nest, dog kennel, horse stable, fox den, spider web, cow barn, pig sty, rabbit burrow, lion savanna,
    fish water, ant anthill, beaver lodge, bear cave, camel desert, penguin ice, monkey jungle, frog pond, mole tunnel, whale ocean""")
LEGS = pairs("""dog four, cat four, horse four, cow four, hen two, duck two, owl two, crow two, bee six, ant six, butterfly six,
    beetle six, spider eight, scorpion eight, snake no, fish no, worm no, sheep four, goat four, pig four, swan two, fly six""")
JOBS = pairs("""baker:bakes bread, teacher:teaches children, doctor:helps sick people, farmer:grows food, pilot:flies planes,
    painter:paints pictures, writer:writes books, cook:prepares meals, singer:sings songs, driver:drives cars, dentist:repairs teeth,
    gardener:looks after plants, tailor:makes clothes, miner:digs for coal, judge:decides in court, sailor:sails ships,
    plumber:mends pipes, carpenter:works with wood, firefighter:puts out fires, hunter:hunts animals, barber:cuts hair,
    shepherd:watches sheep, nurse:cares for patients, postman:brings letters, fisherman:catches fish, waiter:serves guests""")
USES = pairs("""knife:cut things, pen:write, key:open a door, broom:sweep the floor, umbrella:stay dry, clock:tell the time, lamp:light a room,
    hammer:drive in nails, spoon:eat soup, towel:dry your hands, needle:sew, rope:tie things, bed:sleep, oven:bake bread, boat:cross a river,
    ladder:climb up, bucket:carry water, mirror:see yourself, camera:take pictures, saw:cut wood, phone:call people, soap:wash your hands,
    map:find the way, scale:weigh things, ruler:measure a line, comb:tidy your hair, basket:carry fruit, candle:make light""")

PLURALS = pairs("""cat cats, dog dogs, book books, tree trees, house houses, car cars, flower flowers, bird birds, apple apples, box boxes,
    bus buses, glass glasses, dish dishes, brush brushes, church churches, watch watches, fox foxes, baby babies, city cities,
    lady ladies, party parties, story stories, berry berries, puppy puppies, boy boys, toy toys, key keys, day days, monkey monkeys,
    knife knives, wife wives, leaf leaves, wolf wolves, half halves, shelf shelves, loaf loaves, thief thieves, man men, woman women,
    child children, tooth teeth, foot feet, goose geese, mouse mice, ox oxen, sheep sheep, fish fish, deer deer, person people,
    potato potatoes, tomato tomatoes, hero heroes, piano pianos, photo photos, table tables, chair chairs, pencil pencils, window windows,
    river rivers, garden gardens, train trains, ship ships, king kings, queen queens, bottle bottles, peach peaches, bench benches""")
PAST = pairs("""walk walked, talk talked, play played, jump jumped, cook cooked, clean cleaned, help helped, open opened, work worked, look looked,
    call called, paint painted, wait waited, want wanted, need needed, start started, stop stopped, plan planned, carry carried,
    try tried, cry cried, study studied, like liked, live lived, dance danced, smile smiled, close closed, go went, come came, see saw,
    eat ate, drink drank, sing sang, swim swam, run ran, begin began, give gave, take took, make made, find found, buy bought,
    bring brought, think thought, catch caught, teach taught, write wrote, drive drove, ride rode, speak spoke, break broke,
    sleep slept, keep kept, feel felt, leave left, lose lost, meet met, sit sat, stand stood, win won, fly flew, grow grew, know knew,
    draw drew, fall fell, sell sold, tell told, hear heard, hold held, build built, send sent, wear wore, forget forgot""")

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"]
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"]

KINDS = {kind: words.split() for kind, words in {
    "animal": "dog cat horse cow sheep goat pig hen duck goose lion tiger bear wolf fox deer rabbit mouse elephant camel monkey frog",
    "fruit": "apple pear banana orange lemon cherry plum grape peach melon mango strawberry",
    "vegetable": "carrot onion potato cabbage bean pea cucumber pumpkin spinach radish leek broccoli",
    "tool": "hammer saw drill spade rake shovel axe ladder wrench needle",
    "colour": "red blue green yellow white black brown purple pink grey",
    "vehicle": "car bus train ship boat plane bicycle truck tram ferry",
    "instrument": "piano guitar violin flute drum trumpet harp cello organ banjo",
    "garment": "shirt coat hat scarf skirt dress glove sock jacket belt",
    "drink": "water milk coffee tea juice lemonade cocoa cider",
    "metal": "iron gold silver copper tin lead zinc steel"}.items()}

NAMES = ["Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ines", "Jack", "Karin", "Leo", "Maria", "Nina", "Oscar", "Paul", "Rosa", "Sam", "Tina", "Victor", "Wendy", "Adam", "Bella", "Carlos", "Diana", "Eric", "Fiona", "George", "Hanna", "Ivan", "Julia", "Kevin", "Laura", "Mark", "Nora", "Olga", "Peter", "Quinn", "Robert", "Sara", "Tom", "Ursula", "Vera", "Walter", "Yusuf", "Zoe", "Amir", "Bruno", "Chloe", "Dario", "Elena", "Frank", "Gita", "Hugo", "Iris", "Jonas", "Kira", "Lukas", "Mila", "Noah", "Olivia", "Pablo", "Rita", "Simon", "Thea", "Uma", "Vince", "Wanda", "Yara", "Zeno"]
SURNAMES = ["Keller", "Smith", "Brown", "Garcia", "Novak", "Rossi", "Meyer", "Tanaka", "Silva", "Jensen", "Kowalski", "Dubois", "Murphy", "Costa", "Wilson", "Becker", "Moreau", "Larsen", "Fischer", "Lopez", "Walker", "Marino", "Young", "Schmidt", "Baker", "Cooper", "Hughes", "Lang", "Weber", "Petrov", "Olsen", "Bauer", "Clark", "Davis", "Evans", "Foster", "Green", "Hall", "Khan", "Lee"]
CITIES = list(CAPITALS.values()) + ["Hamburg", "Milan", "Porto", "Boston", "Chicago", "Seattle", "Leeds", "Bristol", "Lyon", "Turin", "Sydney", "Toronto", "Mumbai", "Osaka", "Geneva"]
OBJECTS = ["lamp", "book", "chair", "table", "shirt", "coat", "hat", "phone", "clock", "camera", "basket", "bottle", "cup", "plate", "knife", "spoon", "pencil", "notebook", "bag", "box", "key", "candle", "mirror", "blanket", "pillow", "towel", "carpet", "bicycle", "guitar", "piano", "umbrella", "radio", "kettle", "vase", "ladder", "rope", "shoe", "ring", "watch", "toy", "ball", "kite"]
ADJECTIVES = ["little", "big", "old", "young", "happy", "sad", "brave", "clever", "lazy", "hungry", "tired", "kind", "quiet", "proud", "shy", "curious", "friendly", "strong", "gentle", "funny", "red", "blue", "green", "yellow", "white", "black", "brown", "small", "tall", "fast", "slow", "new"]
PLACES = ["forest", "garden", "village", "town", "school", "river", "market", "castle", "beach", "island", "farm", "kitchen", "park", "station", "library", "bridge", "hill", "lake", "valley", "harbour"]
SYLLABLES = ["ba", "be", "bi", "bo", "bu", "da", "de", "di", "do", "ka", "ke", "ki", "ko", "la", "le", "li", "lo", "lu", "ma", "me", "mi", "mo", "na", "ne", "ni", "no", "pa", "pe", "po", "ra", "re", "ri", "ro", "sa", "se", "si", "so", "ta", "te", "ti", "to", "va", "ve", "vi", "vo", "za", "zo"]

TOPICS = {
    "sport": (["The team", "The goalkeeper", "Our coach", "The runner", "The young player", "The champion"],
              ["won the match", "scored a late goal", "trained for the race", "lost the final game", "broke the record", "jumped over the bar"]),
    "food": (["The soup", "The cook", "My grandmother", "This recipe", "The baker", "Our dinner"],
             ["needs more salt", "smells of garlic and butter", "goes into a hot oven", "is made with fresh tomatoes", "was served with bread", "tastes of cheese"]),
    "weather": (["The storm", "Heavy rain", "A cold wind", "Thick fog", "Snow", "The first frost"],
                ["will reach the coast", "is expected in the north", "came over the hills", "will last until morning", "covered the roads", "is on its way"]),
    "music": (["The singer", "The band", "The violin player", "The choir", "A drummer", "The pianist"],
              ["played a new song", "sang in the concert hall", "learned the melody", "recorded an album", "tuned the strings", "practised the chorus"]),
    "travel": (["The tourists", "Our flight", "The guide", "Many visitors", "The passengers", "My holiday"],
               ["left from the airport", "stayed in a hotel by the sea", "took the train abroad", "packed the suitcase", "crossed the border", "visited the old town"]),
    "school": (["The pupils", "Our teacher", "The student", "The class", "The new lesson", "The exam"],
               ["wrote a long test", "learned to read", "did the homework", "was about grammar", "got good marks", "used the blackboard"]),
    "money": (["The bank", "The investor", "The price", "My salary", "The shop owner", "The tax office"],
              ["raised the interest rate", "went up by ten percent", "paid the bill", "opened an account", "saved some coins", "lost money on the market"]),
    "health": (["The doctor", "The patient", "A nurse", "The hospital", "My tooth", "The medicine"],
               ["treated the fever", "has a sore throat", "helps against pain", "needs a rest in bed", "checked the heart", "cured the cough"])}
PRAISE = ["wonderful", "excellent", "lovely", "great", "delicious", "fantastic", "pleasant", "perfect", "charming", "brilliant"]
BLAME = ["terrible", "awful", "horrible", "boring", "dirty", "disappointing", "nasty", "dreadful", "broken", "poor"]
REVIEWED = ["film", "book", "hotel", "meal", "room", "concert", "service", "trip", "game", "song", "phone", "coffee", "waiter", "show", "park", "cake"]
HELPDESK = {
    "billing": ["I was charged twice for my order", "There is a mistake on my invoice", "Why is my bill so high this month",
                "Please send me a receipt for the payment", "My credit card was refused"],
    "account": ["I forgot my password", "I cannot log in to my account", "Please change my email address", "My account is locked",
                "How do I delete my profile"],
    "delivery": ["My parcel has not arrived", "Where is my package", "The box came to the wrong address", "The delivery is two days late",
                 "Can you ship to another country"],
    "technical": ["The app crashes when I open it", "The page shows an error", "The screen stays black", "I cannot upload a file",
                  "The update does not install"],
    "returns": ["I want my money back", "How can I return these shoes", "The lamp arrived broken", "I would like to exchange the shirt",
                "You sent me the wrong size"]}
