"""Words of the company overview."""

from __future__ import annotations

from typing import Final

from merilo_dashboards.texts import Text

TITLE: Final = Text("Company overview", "Преглед на компанията")
ABOUT: Final = Text(
    "For owners and facility managers: power now, energy so far, how complete the figures are.",
    "За собственици и домакини на сгради: мощност сега, енергия досега, колко пълни са числата.",
)
HEADER_ABOUT: Final = Text("How to read this board", "Как се чете това табло")
HEADER: Final = Text(
    "**metered**: from an intact register · **bridged**: total known, course not · **estimated**: by a stated rule · "
    "missing: empty, never zero",
    "**измерено**: от изправен брояч · **свързано**: известно количество, не и ходът · **оценено**: по правило · "
    "липсващо: празно, никога нула",
)

COMPANY: Final = Text("Company", "Компания")
SITE: Final = Text("Site", "Обект")
DATABASE: Final = Text("Database", "База данни")

YESTERDAY: Final = Text("Yesterday", "Вчера")
LAST_MONTH: Final = Text("Last month", "Миналия месец")
THIS_YEAR: Final = Text("This year", "Тази година")
LAST_YEAR: Final = Text("Last year", "Миналата година")

BY_MONTH: Final = Text("Day by day, month by month", "Ден по ден, месец по месец")
BY_METER: Final = Text("Meters", "Измервания")
BY_DEVICE: Final = Text("Devices and events", "Устройства и събития")

NOTHING: Final = Text("none", "няма")
NO_POWER: Final = Text("no reading for 5 minutes", "няма показание от 5 минути")
NO_ENERGY: Final = Text("nothing booked", "няма отчетено")
NO_QUALITY: Final = Text("not known", "неизвестно")
NO_SIGNS: Final = Text("no word for 10 minutes", "няма вест от 10 минути")
NO_SIGNS_HERE: Final = Text("no life signs in these dates", "няма признаци на живот в тези дати")
NO_MONTH: Final = Text("no month begins in these dates", "в тези дати не започва месец")
NO_EVENTS: Final = Text("no event", "няма събития")

POWER_NOW: Final = Text("Power now", "Мощност")
POWER_NOW_ABOUT: Final = Text(
    "Power that the company takes right now: the newest minute mean of each meter with role main, none older than "
    "5 minutes, added up. A silent meter is left out, so look at Devices beside it. Good: after closing time close to "
    "the lowest power of the week. To do: if it stays high, see in the table of meters what was left on.",
    "Мощността, която компанията потребява в момента: най-новата минутна средна стойност на всяко измерване с роля "
    "„целия обект“, не по-стара от 5 минути, събрани заедно. Мълчащо измерване не участва, затова вижте и "
    "„Устройства“. Добре е: след работно време да е близо до най-ниската мощност за седмицата. Какво да направите: "
    "ако остава висока, вижте в таблицата на измерванията какво е останало включено.",
)
TODAY: Final = Text("Today", "Днес")
TODAY_ABOUT: Final = Text(
    "Energy since midnight up to the last booked quarter of an hour: today's stored rows of all meters with role main, "
    "added up. Good: below the same hour of a usual day. To do: compare with the bars of energy per day. Empty when "
    "the dates above are picked by hand and leave today out.",
    "Енергия от полунощ до последния отчетен четвърт час: записаните за днес редове на всички измервания с роля "
    "„целия обект“, събрани заедно. Добре е: да е под обичайния ден в същия час. Какво да направите: сравнете със "
    "стълбовете за енергия по дни. Празно е, когато датите горе са избрани ръчно и не включват днес.",
)
THIS_MONTH: Final = Text("This month", "Този месец")
THIS_MONTH_ABOUT: Final = Text(
    "Energy since the first of the month: this month's stored rows of all meters with role main, added up; equal to "
    "the sum of the days. Good: not above the tile beside it. To do: if it is above, look for the day on which it "
    "began to differ. Empty when the dates above are picked by hand and leave out the first of the month.",
    "Енергия от първо число: записаните за месеца редове на всички измервания с роля „целия обект“, събрани заедно; "
    "равна е на сбора на дните. Добре е: да не надвишава съседното число. Какво да направите: ако го надвишава, "
    "потърсете деня, от който започва разликата. Празно е, когато датите горе са избрани ръчно и не включват първо "
    "число.",
)
MONTH_BEFORE: Final = Text("A month ago", "Предишен")
MONTH_BEFORE_ABOUT: Final = Text(
    "Energy of last month's same days, up to the same hour: the stored hours of all meters with role main, added up; "
    "the running hour counts whole. It is a comparison and no proof of a saving: weather and working days differ. "
    "Good: not below the tile before it. To do: open last month by the link above. With dates picked by hand: the "
    "same stretch one month earlier.",
    "Енергия за същите дни на миналия месец, до същия час: записаните часове на всички измервания с роля „целия "
    "обект“, събрани заедно; текущият час се брои цял. Това е сравнение, а не доказателство за спестяване: времето и "
    "работните дни са различни. Добре е: да не е под предишното число. Какво да направите: отворете миналия месец от "
    "връзката горе. При ръчно избрани дати: същият период един месец по-рано.",
)
COMPLETE: Final = Text("Complete", "Пълнота")
COMPLETE_ABOUT: Final = Text(
    "Share of the quarters of an hour in the dates above that are metered or bridged: the mean over all devices and "
    "local days, the running day as far as it has passed. Good: above 98 %; below 90 % no indicator is computed. "
    "To do: find the silent device below, then check its supply and cable.",
    "Дял на четвъртините час в избраните горе дати, които са измерени или свързани: средно за всички устройства и "
    "местни дни, текущият ден до момента. Добре е: над 98 %; под 90 % не се изчисляват показатели. Какво да "
    "направите: намерете мълчащото устройство по-долу и проверете захранването и кабела му.",
)
DEVICES: Final = Text("Devices", "Устройства")
DEVICES_ABOUT: Final = Text(
    "Whether every gateway and every device answers: the worst of the newest life signs, none older than 10 minutes. "
    "Good: all up. To do: otherwise find the silent one in the chart of gateways and devices below. No word at all "
    "means that the collector does not run.",
    "Дали отговарят всички шлюзове и устройства: най-лошият от последните признаци на живот, не по-стари от "
    "10 минути. Добре е: наред. Какво да направите: иначе намерете мълчащото в графиката на "
    "шлюзовете и устройствата по-долу. Ако няма никаква вест, събирачът не работи.",
)
GATEWAYS_NAME: Final = Text("gateways", "шлюзове")
DEVICES_NAME: Final = Text("devices", "устройства")
ALL_UP: Final = Text("all up", "наред")
NOT_ALL_UP: Final = Text("not all", "не всички")
ANSWERS: Final = Text("answers", "отговаря")
SILENT: Final = Text("silent", "мълчи")

POWER: Final = Text("Power by quarter of an hour", "Мощност по четвърт час")
POWER_ABOUT: Final = Text(
    "Mean power of each quarter of an hour, last 7 days: all meters with role main added up, coloured by the state of "
    "each meter's quarter. What is not known is left empty; where a meter is missing the background is shaded, since "
    "the others alone are no total. Good: low and even at night and on days off. To do: look for steps that stay, and "
    "compare with the events. With dates picked by hand: those dates.",
    "Средна мощност за всеки четвърт час, последните 7 дни: всички измервания с роля „целия обект“, събрани заедно, "
    "оцветени според състоянието на четвъртината на всяко измерване. Неизвестното остава празно; където някое "
    "измерване липсва, фонът е оцветен, защото останалите не са целият сбор. Добре е: ниско и равно нощем и в "
    "почивни дни. Какво да направите: потърсете промени, които остават, и ги сравнете със събитията. При ръчно "
    "избрани дати: тези дати.",
)
METERED: Final = Text("metered", "измерено")
BRIDGED: Final = Text("bridged", "свързано")
ESTIMATED: Final = Text("estimated", "оценено")
MISSING: Final = Text("missing", "липсва")
INCOMPLETE: Final = Text("less than 90 % known", "известни под 90 %")

METERS: Final = Text("Meters, this month", "Измервания, този месец")
METERS_ABOUT: Final = Text(
    "What each meter booked since the first of the month: stored energy, highest quarter-hour power, and the share of "
    "quarters that are metered or bridged. Meters overlap, since the whole site contains the others, so the rows do "
    "not add up. Good: coverage above 98 %. To do: begin with the largest meter that is not the whole site.",
    "Какво е отчело всяко измерване от първо число: записана енергия, най-висока мощност за четвърт час и дял на "
    "измерените или свързаните четвъртини. Измерванията се припокриват, защото „целия обект“ съдържа останалите, и "
    "редовете не се сумират. Добре е: пълнота над 98 %. Какво да направите: започнете от най-голямото измерване, "
    "което не е „целия обект“.",
)
METER: Final = Text("Meter", "Измерване")
ROLE: Final = Text("Measures", "Измерва")
ENERGY: Final = Text("Energy", "Енергия")
PEAK: Final = Text("Highest", "Най-висока")
COVERAGE: Final = Text("Complete", "Пълнота")
ONLY_SITE: Final = Text("Show only this site", "Покажи само този обект")

PER_DAY: Final = Text("Energy per day", "Енергия по дни")
PER_DAY_ABOUT: Final = Text(
    "Energy of each local day in the dates above: stored days of all meters with role main, added up by state. A day "
    "of which less than 90 % is metered or bridged is shaded: its bar is estimated or too low. Good: days off clearly "
    "lower than working days. To do: where a day is shaded, look for the fault among the events of that day.",
    "Енергия за всеки местен ден в избраните горе дати: записаните дни на всички измервания с роля „целия обект“, "
    "събрани по състояние. Ден, от който под 90 % са измерени или свързани, е на оцветен фон: стълбът му е оценен или "
    "твърде нисък. Добре е: почивните дни да са ясно по-ниски от работните. Какво да направите: където денят е на "
    "оцветен фон, потърсете повредата сред събитията за него.",
)
PER_MONTH: Final = Text("Energy per month, 13 months", "Енергия по месеци, 13 месеца")
PER_MONTH_ABOUT: Final = Text(
    "Energy of each calendar month, so that each stands beside the same one of last year: stored months of all meters "
    "with role main, added up by state; the running month up to now, and a month with gaps is too low. Good: below the "
    "same month of last year. To do: open a month that is above. With dates picked by hand: the months that begin in "
    "them.",
    "Енергия за всеки календарен месец, за да стои всеки до същия от миналата година: записаните месеци на всички "
    "измервания с роля „целия обект“, събрани по състояние; текущият месец досега, а месец с липси е твърде нисък. "
    "Добре е: под същия месец на миналата година. Какво да направите: отворете месец, който е над него. При ръчно "
    "избрани дати: месеците, които започват в тях.",
)

STATES: Final = Text("Gateways and devices", "Шлюзове и устройства")
STATES_ABOUT: Final = Text(
    "Whether each gateway and device answered, last 24 hours: the worst life sign of each minute or longer interval. "
    "Nothing is drawn where nobody wrote one. Good: one unbroken line each. To do: a silent gateway takes all its "
    "devices with it, so begin there: supply, then network; its readings wait on its disk.",
    "Дали всеки шлюз и всяко устройство са отговаряли, последните 24 часа: най-лошият признак на живот за всяка минута "
    "или по-дълъг интервал. Където никой не е записал такъв, няма нищо. Добре е: по една непрекъсната линия. Какво да "
    "направите: мълчащ шлюз повлича всичките си устройства, затова започнете от него: захранване, после мрежа; "
    "показанията му чакат на диска му.",
)
EVENTS: Final = Text("Events", "Събития")
EVENTS_ABOUT: Final = Text(
    "What happened to meters, devices and gateways in the last 400 days, newest first: resets, exchanged meters, "
    "readings set aside, and the energy that was estimated for them. Good: few rows, and none that nobody can explain. "
    "To do: open the time of a row to see the power around it; enter a decision where the cause is known.",
    "Какво се е случило с измервания, устройства и шлюзове през последните 400 дни, най-новото отгоре: започване от "
    "нула, сменени електромери, отстранени показания и енергията, оценена за тях. Добре е: малко редове и нито един "
    "необясним. Какво да направите: отворете времето на реда, за да видите мощността наоколо; въведете решение, "
    "където причината е известна.",
)
EVENT_TIME: Final = Text("Time", "Време")
EVENT: Final = Text("What", "Какво")
EVENT_KIND: Final = Text("Kind", "Вид")
DEVICE: Final = Text("Device", "Устройство")
ESTIMATED_ENERGY: Final = Text("Estimated", "Оценено")
AROUND: Final = Text("Show the day before and after", "Покажи деня преди и след това")
DISTURBANCES: Final = Text("Disturbances of meters", "Смущения при измерванията")

ROLES: Final = {
    "main": Text("whole site", "целия обект"),
    "it": Text("IT equipment", "ИТ оборудване"),
    "ups_in": Text("UPS input", "вход на UPS"),
    "ups_out": Text("UPS output", "изход на UPS"),
    "pdu": Text("distribution (PDU)", "разпределител (PDU)"),
    "cooling": Text("cooling", "охлаждане"),
    "lighting": Text("lighting", "осветление"),
    "pv": Text("photovoltaics", "фотоволтаици"),
    "office": Text("office", "офис"),
    "other": Text("other", "друго"),
    "unassigned": Text("not said yet", "още не е зададено"),
}
"""What each role measures, in the words of the built-in page."""

KINDS: Final = {
    "ledger": Text("register", "брояч"),
    "check": Text("daily check", "дневна проверка"),
    "device": Text("device", "устройство"),
    "gateway": Text("gateway", "шлюз"),
    "configuration": Text("configuration", "настройка"),
    "quality": Text("data quality", "качество на данните"),
    "security": Text("security", "сигурност"),
    "measure": Text("saving measure", "мярка за спестяване"),
    "trial": Text("trial", "изпитване"),
    "maintenance": Text("maintenance", "поддръжка"),
    "outage": Text("outage", "прекъсване"),
}
"""Kinds of events."""
